"""From texts to labels, entities, answers, and what stands at masks."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras

from transformer.checkpoints.run_directory import BEST
from transformer.data.cleaning import SPACES
from transformer.inference.runs_of_tasks import load_run_of
from transformer.system.errors import UserError
from transformer.tasks.answers import FoundAnswer
from transformer.tasks.classification import Classification, Prediction
from transformer.tasks.filled_masks import FilledMasks
from transformer.tasks.fine_tuning import FineTuning
from transformer.tasks.masked_lm import CANDIDATES, MaskedLM
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.tagging import Tags

SEPARATOR = "\t"  # between the texts of a pair
TOGETHER = 4096  # inputs that are sorted by their lengths together, which bounds the memory
Result = Prediction | Tags | FoundAnswer | FilledMasks


class Predictor:
    """Labels texts, tags their words, answers questions about them, or fills their masks, with a trained run.

    Args:
        task: of the run.
        network: its network.

    Use: `Predictor.load(run).predict(["what a film"])`.
    """

    def __init__(self, task: FineTuning | MaskedLM, network: keras.Model) -> None:
        self.task, self.network = task, network

    @classmethod
    def load(cls, run: str | Path, which: str = BEST) -> Self:
        """Load the predictor of a run directory.

        Args:
            run: the directory.
            which: `best` or `last` weights.

        Raises:
            UserError: the run is missing, damaged, or of a task that predicts something else.
            RuntimeError: in a process that was forked after a model had been loaded.
        """
        task, network = load_run_of(run, which, PREDICTING)
        assert isinstance(task, FineTuning | MaskedLM)  # as the name says
        return cls(task, network)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels or tags that the run knows, in their order; of masks and answers there are none."""
        return tuple(self.task.labels["label"]) if isinstance(self.task, FineTuning) else ()

    @property
    def inputs(self) -> int:
        """How many texts make an input: 1, 2 of pairs and of questions with their text, or 0: 1 or 2, as it comes.

        The last is so of an imported classifier, whose folder does not tell for what it was trained.
        """
        if isinstance(self.task, QuestionAnswering):
            return 2
        return self.task.texts if isinstance(self.task, Classification) else 1

    def input_of(self, line: str, context: str | None, number: int) -> tuple[str, ...]:
        """Return the texts of an input that is given as a line, and perhaps with the second text of all inputs.

        Args:
            line: of a pair without a context, both texts with a TAB between.
            context: the second text.
            number: of the line, for messages.

        Raises:
            UserError: there is one text too few or too many, or no mask where there is to be one.
        """
        if isinstance(self.task, MaskedLM):
            try:
                self.task.masked_ids(line)
            except UserError as error:
                raise UserError(f"text {number}: {error}") from None
        if self.inputs == 1:
            if context is not None:
                raise UserError("this run reads one text at a time; leave the context out")
            return (line,)
        if context is not None:
            return line, context
        first, tab, second = line.partition(SEPARATOR)
        if tab:
            return first, second
        if self.inputs == 2:
            raise UserError(
                f"text {number}: this run reads two texts together, and no TAB divides them; write one, or give the "
                "second text as the context"
            )
        return (line,)

    def predict(self, inputs: Sequence[str | tuple[str, ...]], top_k: int | None = None) -> list[Result]:
        """Return what the run says of inputs, one result each.

        Args:
            inputs: texts or, where `inputs` is 2, pairs of them: of a question, and the text that it is about. Of a
                masked language model, texts with '[MASK]' where it is to find a token.
            top_k: tokens for each mask; None: `CANDIDATES`, and for all other runs.

        Returns:
            For each a `Prediction` (classification), `Tags` (tagging), `FoundAnswer` (question answering) or
            `FilledMasks` (masked-lm).

        Raises:
            UserError: an input of another kind, or `top_k` that is no number of tokens of this run.
        """
        self.check_top_k(top_k)
        found: list[Result] = []
        for start in range(0, len(inputs), TOGETHER):
            some: Any = inputs[start : start + TOGETHER]
            if isinstance(self.task, MaskedLM):
                found += self.task.predict(self.network, some, top_k or CANDIDATES)
            else:
                found += self.task.predict(self.network, some)
        return found

    def check_top_k(self, top_k: int | None) -> None:
        """Raise a UserError where `predict` would not take `top_k`."""
        if top_k is None:
            return
        if not isinstance(self.task, MaskedLM):
            raise UserError(
                f"top_k is for runs of the task masked-lm, and this is one of {self.task.name}; leave it out"
            )
        if not 1 <= top_k <= self.task.tokenizer.vocabulary_size:
            most = self.task.tokenizer.vocabulary_size
            raise UserError(f"top_k must be from 1 to {most:,}, the tokens of the vocabulary, got {top_k:,}")


PREDICTING = ("classification", "tagging", "question-answering", "masked-lm")


def described(texts: Sequence[str], result: Result) -> dict[str, Any]:
    """Return an input and what is said of it as JSON shows them; numbers are rounded."""
    if isinstance(result, Tags):
        return {
            "text": texts[0],
            "words": [
                {"text": result.text[start:end], "start": start, "end": end, "tag": tag, "probability": round(p, 6)}
                for (start, end), tag, p in zip(result.spans, result.tags, result.probabilities, strict=True)
            ],
            "entities": [{**dataclasses.asdict(e), "probability": round(e.probability, 6)} for e in result.entities],
        }
    if isinstance(result, FoundAnswer):
        numbers = {"score": round(result.score, 6), "probability": round(result.probability, 6)}
        place = {"text": result.text, "start": result.start, "end": result.end}
        return {"question": texts[0], "answer": place if result.text else None, **numbers}
    if isinstance(result, FilledMasks):
        return {
            "text": texts[0],
            "masks": [
                {
                    "start": mask.start,
                    "end": mask.end,
                    "candidates": [{"text": c.text, "probability": round(c.probability, 6)} for c in mask.candidates],
                }
                for mask in result.masks
            ],
        }
    told: dict[str, Any] = {"texts": list(texts)} if len(texts) > 1 else {"text": texts[0]}
    if result.value is not None:
        told["value"] = round(result.value, 6)
    else:
        told |= {
            "labels": list(result.labels),
            "probabilities": {label: round(p, 6) for label, p in result.probabilities.items()},
        }
    return {**told, "warnings": warnings(texts, result)}


def warnings(texts: Sequence[str], result: Result) -> list[str]:
    """Return what a reader should know of a result."""
    if not isinstance(result, Prediction):
        return []
    if not any(text.strip(SPACES) for text in texts):
        return ["it is empty, so that what is said of it means nothing"]
    return [f"the last {result.cut:,} tokens were not read: the model reads no more"] if result.cut else []
