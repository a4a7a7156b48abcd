"""Translating requests that were put together, and writing the answers' JSON."""

import collections
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic

import numpy as np

from transformer.inference.result import Translation, described
from transformer.inference.translator import Translator
from transformer.serving.batcher import TimedOut
from transformer.serving.config import ServeConfig
from transformer.serving.translation_schemas import Kind
from transformer.system.errors import UserError

DIGITS = 4  # of attention weights after the point
WITHOUT_ATTENTION = (
    "no attention: too long a sentence, or more than the {:,} weights of one answer; ask for less at once"
)
Place = tuple[int, int]  # of a request, and of a sentence in it
Batch = dict[Place, str]


class TranslationService:
    """Translates with one model and as many beam sizes as are asked for; the translator's own is the default.

    Raises:
        UserError: the translator's own beam is larger than the limit.
    """

    def __init__(self, translator: Translator, limits: ServeConfig) -> None:
        self.default = translator.search
        if self.default.beam_size > limits.max_beam:
            raise UserError(
                f"the run searches with beam_size {self.default.beam_size}, above the limit of {limits.max_beam}; "
                "raise --max-beam or give a smaller --beam-size"
            )
        self._translators = {self.default.beam_size: translator}
        self._max_attention = limits.max_attention

    def translator(self, beam_size: int) -> Translator:
        """Return the translator of a beam size; the first use of each takes seconds, while TensorFlow traces it."""
        if beam_size not in self._translators:
            default = self._translators[self.default.beam_size]
            self._translators[beam_size] = default.with_search(beam_size=beam_size)
        return self._translators[beam_size]

    def warm_up(self) -> None:
        """Make the graphs of the two most frequent searches, the default and greedy, for all lengths."""
        for beam_size in {self.default.beam_size, 1}:
            translator = self.translator(beam_size)
            translator.engine.warm_up(translator.search)
        self.answer(Kind(self.default.beam_size, self.default.beam_size, attention=True), [["a"]])

    def answer(self, kind: Kind, requests: Sequence[Sequence[str]], deadline: float = math.inf) -> list[bytes]:
        """Return the answer of each request, a list of sentences, as JSON in UTF-8.

        Raises:
            TimedOut: the deadline on the monotonic clock passed, which is checked between the translator's batches.
        """

        def progress(done: int) -> None:
            if monotonic() > deadline:
                raise TimedOut

        def translate(batch: Batch, with_attention: bool) -> Iterator[tuple[Place, list[Translation]]]:
            translator = self.translator(kind.beam_size)
            found = translator.translate(list(batch.values()), kind.n_best, with_attention, progress)
            return zip(batch, found, strict=True)

        sentences = {(r, s): text for r, texts in enumerate(requests) for s, text in enumerate(texts)}
        if kind.attention:
            with_attention, without = self._divided(sentences, kind.n_best)
            found = {place: each for batch in with_attention for place, each in translate(batch, True)}
            warning = WITHOUT_ATTENTION.format(self._max_attention)
            for place, each in translate(without, False):
                found[place] = [dataclasses.replace(one, warnings=(*one.warnings, warning)) for one in each]
        else:
            found = dict(translate(sentences, False))
        return [_to_json([(text, found[r, s]) for s, text in enumerate(texts)]) for r, texts in enumerate(requests)]

    def _divided(self, sentences: Batch, n_best: int) -> tuple[list[Batch], Batch]:
        """Return the batches to translate with attention, and the sentences that get none.

        Neither an answer nor a batch holds more weights than the limit, which bounds the memory.
        """
        batches: list[Batch] = [{}]
        without: Batch = {}
        in_answer: dict[int, float] = collections.defaultdict(float)
        in_batch = 0.0
        for (place, text), weights in zip(sentences.items(), self._most_weights(sentences.values()), strict=True):
            weights *= n_best
            if in_answer[place[0]] + weights > self._max_attention:
                without[place] = text
                continue
            in_answer[place[0]] += weights
            in_batch += weights
            if in_batch > self._max_attention:
                batches.append({})
                in_batch = weights
            batches[-1][place] = text
        return batches, without

    def _most_weights(self, sentences: Iterable[str]) -> list[float]:
        """Return how many attention weights a hypothesis of each sentence has at most.

        One that is longer than the model reads has none to return, but those of its parts would be computed.
        """
        translator, found = self.translator(self.default.beam_size), []
        for parts in translator.reader.parts(list(sentences), with_attention=True):
            lengths = np.array([len(part.row) for part in parts])
            most, _ = translator.limits(lengths)
            found.append(float(lengths.sum() * most.sum()) if parts[0].shown else math.inf)
        return found


def _to_json(translations: Iterable[tuple[str, Sequence[Translation]]]) -> bytes:
    entries = []
    for sentence, hypotheses in translations:
        entry = described(sentence, hypotheses)
        for found, hypothesis in zip(entry["hypotheses"], hypotheses, strict=True):
            weights = hypothesis.attention
            found["attention"] = None if weights is None else weights.astype(float).round(DIGITS).tolist()
        # One by one: a thread that writes JSON lets no other run meanwhile, and all weights together take it too long.
        entries.append(json.dumps(entry, ensure_ascii=False, allow_nan=False))
    return f'{{"translations": [{", ".join(entries)}]}}'.encode()
