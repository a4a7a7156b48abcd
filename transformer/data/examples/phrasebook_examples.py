"""Annotated examples of the embedded phrasebook: the topic of a sentence, and what the entries of its slots stand for.

Validation and test sentences are combinations that no training sentence has, see `phrasebook/splits.py`.
"""

from collections.abc import Iterator
from typing import Any

from transformer.data.examples.annotated import AnnotatedCorpus, Labelled, Tagged
from transformer.data.tag_schemes import OUTSIDE
from transformer.data.words import words_of

MOST_SENTENCES = 25_000  # of the training split, each in all languages that are wanted: what a minute can use
LANGUAGES = ("pt", "en", "zh")
_KINDS = {  # of entities, and the types of slots that stand for them
    "PERSON": "person relative",
    "PLACE": "place city country facility spot",
    "FOOD": "food order seasoning",
    "TIME": "past_time future_time habit_time frequency season since date weekday on_weekday month year clock morning "
    "evening",
    "NUMBER": "count small_count minutes dose hours age child_age degrees",
    "PRICE": "small_price price large_price",
    "THING": "item clothes paper media medicine vehicle part tableware",
}
KIND_OF = {slot: kind for kind, slots in _KINDS.items() for slot in slots.split()}


class PhrasebookExamples(AnnotatedCorpus):
    """The phrasebook's sentences with one kind of annotation.

    Args:
        what: 'topics' or 'entities'.
        language: 'pt', 'en' or 'zh', or 'all' of them.
    """

    def __init__(self, what: str, language: str) -> None:
        super().__init__(f"phrasebook/{what}", ("train", "validation", "test"), 0)
        self.what, self.languages = what, LANGUAGES if language == "all" else (language,)

    def _identity(self) -> Iterator[str]:
        from transformer.data.phrasebook import digest

        yield f"{self.name} {' '.join(self.languages)} {MOST_SENTENCES} {sorted(KIND_OF.items())} {digest()}"

    def _read(self, split: str) -> Iterator[Any]:
        from transformer.data.phrasebook import generate
        from transformer.data.phrasebook.grammar import load_patterns

        patterns = {pattern.name: pattern for pattern in load_patterns()}
        for sentence in generate(split)[:MOST_SENTENCES]:
            for language in self.languages:
                text = getattr(sentence, language)
                if self.what == "topics":
                    yield Labelled((text,), (sentence.pattern.partition(".")[0],))
                    continue
                slots = patterns[sentence.pattern].spans(language, sentence.combination)
                yield _tagged(text, [(KIND_OF[kind], start, end) for kind, start, end in slots if kind in KIND_OF])


def _tagged(text: str, entities: list[tuple[str, int, int]]) -> Tagged:
    """Return a text with IOB2 tags: a word is of an entity if it begins inside."""
    spans = words_of(text)
    tags = [OUTSIDE] * len(spans)
    for kind, start, end in entities:
        inside = [i for i, span in enumerate(spans) if start <= span[0] < end]
        for letter, i in zip(["B", *"I" * len(inside)], inside, strict=False):
            tags[i] = f"{letter}-{kind}"
    return Tagged(text, tuple(spans), tuple(tags))
