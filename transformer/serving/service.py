"""What the translation server does with requests that were put together: translate them and write the answers' JSON."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import numpy as np

from transformer.inference.result import Translation, described
from transformer.inference.translator import Translator
from transformer.serving.batcher import Late
from transformer.serving.config import ServeConfig
from transformer.serving.schemas import Kind
from transformer.system.errors import UserError

DIGITS = 4  # of attention weights after the point
WITHOUT_ATTENTION = (
    "no attention: too long a sentence, or more than the {:,} weights of one answer; ask for less at once"
)


class Service:
    """Translates with one model and as many beam sizes as are asked for.

    Args:
        translator: whose search is the default.
        limits: of the server.

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
            first = self._translators[self.default.beam_size]
            self._translators[beam_size] = first.with_search(beam_size=beam_size)
        return self._translators[beam_size]

    def warm_up(self) -> None:
        """Make the graphs of the two searches that are asked for most, the default and greedy, whatever the length."""
        for beam_size in {self.default.beam_size, 1}:
            self.translator(beam_size).searcher.warm_up()
        self.answer(Kind(self.default.beam_size, self.default.beam_size, attention=True), [["a"]])

    def answer(self, kind: Kind, requests: Sequence[Sequence[str]], deadline: float = math.inf) -> list[bytes]:
        """Return the answer of each request, JSON in UTF-8.

        Args:
            kind: how to translate.
            requests: a list of sentences each.
            deadline: on the monotonic clock.

        Raises:
            Late: the deadline passed; it is looked at between the batches of the translator.
        """

        def progress(done: int) -> None:
            if monotonic() > deadline:
                raise Late

        def translate(sentences: Sequence[str], with_attention: bool) -> list[list[Translation]]:
            return self.translator(kind.beam_size).translate(sentences, kind.n_best, with_attention, progress)

        if kind.attention:
            found = iter(self._with_attention(kind, requests, translate))
        else:
            found = iter(translate([sentence for sentences in requests for sentence in sentences], False))
        return [_to_json([(sentence, next(found)) for sentence in sentences]) for sentences in requests]

    def _with_attention(
        self, kind: Kind, requests: Sequence[Sequence[str]], translate: Callable
    ) -> list[Sequence[Translation]]:
        """Translate in groups whose weights are no more than one answer may hold, which bounds the memory."""
        sentences = [sentence for group in requests for sentence in group]
        weights = [kind.n_best * number for number in self._most_weights(sentences)]
        places = range(len(sentences))
        too_many = _beyond([len(group) for group in requests], weights, self._max_attention)
        found: dict[int, Sequence[Translation]] = {}
        for group in _groups([place for place in places if place not in too_many], weights, self._max_attention):
            results = translate([sentences[place] for place in group], True)
            found.update(zip(group, results, strict=True))
        if too_many:
            plain = translate([sentences[place] for place in too_many], False)
            found.update(zip(too_many, (self._warned(group) for group in plain), strict=True))
        return [found[place] for place in places]

    def _most_weights(self, sentences: Sequence[str]) -> list[float]:
        """Return how many attention weights a hypothesis of each sentence has at most.

        One that is longer than the model reads has none to return, but those of its parts would be computed.
        """
        translator, found = self.translator(self.default.beam_size), []
        for parts in translator.reader.parts(sentences, with_attention=True):
            lengths = np.array([len(part.row) for part in parts])
            most, _ = translator.limits(lengths)
            found.append(float(lengths.sum() * most.sum()) if parts[0].shown else math.inf)
        return found

    def _warned(self, hypotheses: Sequence[Translation]) -> list[Translation]:
        warning = WITHOUT_ATTENTION.format(self._max_attention)
        return [dataclasses.replace(found, warnings=(*found.warnings, warning)) for found in hypotheses]


def _beyond(sizes: Sequence[int], weights: Sequence[float], limit: int) -> list[int]:
    """Return the places that make an answer hold more than `limit` weights; `sizes` are the answers' sentences."""
    beyond, places = [], iter(range(len(weights)))
    for size in sizes:
        total = 0.0
        for place in itertools.islice(places, size):
            if total + weights[place] > limit:
                beyond.append(place)
            else:
                total += weights[place]
    return beyond


def _groups(places: Sequence[int], weights: Sequence[float], limit: int) -> list[list[int]]:
    """Return places in groups, in order; a group's weights are `limit` at most in all."""
    groups: list[list[int]] = []
    total = 0.0
    for place in places:
        total += weights[place]
        if not groups or total > limit:
            groups.append([])
            total = weights[place]
        groups[-1].append(place)
    return groups


def _to_json(sentences: Sequence[tuple[str, Sequence[Translation]]]) -> bytes:
    # One by one: a thread that writes JSON lets no other run meanwhile, and all weights together take it too long.
    entries = (
        json.dumps(_with_weights(sentence, hypotheses), ensure_ascii=False, allow_nan=False)
        for sentence, hypotheses in sentences
    )
    return f'{{"translations": [{", ".join(entries)}]}}'.encode()


def _with_weights(sentence: str, hypotheses: Sequence[Translation]) -> dict[str, Any]:
    entry = described(sentence, hypotheses)
    for found, hypothesis in zip(entry["hypotheses"], hypotheses, strict=True):
        weights = hypothesis.attention
        found["attention"] = None if weights is None else weights.astype(float).round(DIGITS).tolist()
    return entry
