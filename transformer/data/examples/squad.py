"""Questions about texts: SQuAD 1.1 and 2.0 in JSON, and the dataset `squad` of TFDS.

Source: Rajpurkar et al. 2016 (1.1) and 2018 (2.0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformer.data.examples import text_files
from transformer.data.examples.annotated import Answer, Question
from transformer.data.examples.annotated_tfds import decoded
from transformer.system.errors import UserError, shortened
from transformer.system.files import parse_json

FORMAT = 'a file of SQuAD is {"data": [{"paragraphs": [{"context": ..., "qas": [...]}]}]}'


def questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a file.

    Raises:
        UserError: it is no JSON of this format; a question without an id, or with one that another has; answers that do
            not stand where they say. These are told by the question's id.
    """
    try:
        content = parse_json("\n".join(text_files.lines(path)))
        paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
        every = [(paragraph["context"], question) for paragraph in paragraphs for question in paragraph["qas"]]
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); {FORMAT}") from None
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: {error} is missing or of a wrong type; {FORMAT}") from None
    seen: set[str] = set()
    wrong: list[str] = []
    found = []
    for number, (context, question) in enumerate(every, start=1):
        example = _question(context, question, f"{path}, question {number}")
        if example.id in seen:
            raise UserError(f"{example.place}: another one has the id {shortened(example.id)}; ids must differ")
        seen.add(example.id)
        wrong += [told for told in map(example_fault(example), example.answers) if told]
        found.append(example)
    if wrong:
        more = f"; and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise UserError(f"{path}: {wrong[0]}{more}. answer_start counts characters from 0; correct it")
    yield from found


def example_fault(example: Question) -> Any:
    """Return a function from an answer to what is wrong with its place, in words, or ''."""

    def fault(answer: Answer) -> str:
        there = example.context[answer.start : answer.start + len(answer.text)] if answer.start >= 0 else ""
        if there == answer.text:
            return ""
        return (
            f"question {shortened(example.id)}: the answer {shortened(answer.text)} is not at answer_start "
            f"{answer.start}, where {shortened(there)} stands"
        )

    return fault


def _question(context: Any, question: Any, place: str) -> Question:
    """Return a question as the file has it."""
    match question:
        case {"id": str() | int() as name, "question": str(asked)} if isinstance(context, str) and context.strip():
            answers = question.get("answers", [])
        case _:
            raise UserError(f"{place}: needs an id, a question and a context that is not empty; {FORMAT}")
    if question.get("is_impossible") is True:
        return Question(str(name), asked, context, (), place)
    found = []
    for answer in answers if isinstance(answers, list) else [None]:
        match answer:
            case {"text": str(text), "answer_start": int(start)} if text:
                found.append(Answer(text, start))
            case _:
                raise UserError(f"{place} ({shortened(name)}): an answer needs a text and a number answer_start")
    if not found and "is_impossible" not in question:
        raise UserError(f'{place} ({shortened(name)}): it has no answer; say so with "is_impossible": true')
    return Question(str(name), asked, context, tuple(found), place)


def tfds_question(example: Mapping[str, Any], place: str) -> Question:
    """Return an example of the dataset `squad` of TFDS."""
    answers = example["answers"]
    places = zip(answers["text"], answers["answer_start"], strict=True)
    found = dict.fromkeys(Answer(decoded(text), int(start)) for text, start in places)
    question = Question(
        decoded(example["id"]), decoded(example["question"]), decoded(example["context"]), tuple(found), place
    )
    if wrong := next(filter(None, map(example_fault(question), question.answers)), ""):
        raise UserError(f"{place}: {wrong}")
    return question
