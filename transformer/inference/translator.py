"""From sentences to translations."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.checkpoints import BEST, RunDirectory
from transformer.config import DEFAULT_RUN, END_ID, START_ID, SearchConfig
from transformer.data.tokenizers import TokenizerPair
from transformer.inference.search import beam_search
from transformer.models.translation import Transformer
from transformer.threads import in_order


@dataclasses.dataclass(frozen=True)
class Translation:
    """One hypothesis for one sentence.

    Attributes:
        text: the translation, on one line.
        score: log-probability divided by the length penalty.
        log_probability: summed over tokens, in nats.
        tokens: the pieces of the translation, without the end token.
        source_tokens: the pieces of the sentence, with start and end, as the attention sees them.
        attention: (tokens + end, source_tokens) weights of the last decoder layer, mean over heads, or None.
        finished: False where the longest length cut the translation off.
        warnings: what a reader should know about this line.
    """

    text: str
    score: float
    log_probability: float
    tokens: tuple[str, ...] = ()
    source_tokens: tuple[str, ...] = ()
    attention: np.ndarray | None = None
    finished: bool = True
    warnings: tuple[str, ...] = ()


class Translator:
    """A trained model with its tokenizers.

    Args:
        transformer: the model, weights loaded.
        tokenizers: the pair it was trained with.
        search: beam size, length penalty and limits.
        max_positions: longest sequence of the model, in tokens.

    Use: `Translator.load(run).translate(["a sentence"])`.
    """

    def __init__(
        self, transformer: Transformer, tokenizers: TokenizerPair, search: SearchConfig, max_positions: int
    ) -> None:
        self.transformer = transformer
        self.tokenizers = tokenizers
        self.search = search
        self.max_positions = max_positions
        self._compiled: dict[tuple[int, bool], Callable] = {}

    @classmethod
    def load(cls, run: str | Path = DEFAULT_RUN, which: str = BEST, **search: float) -> Translator:
        """Load the translator of a run directory; `search` overrides fields of its `SearchConfig`.

        Raises:
            UserError: the run is missing, incomplete, damaged or of another architecture; a search value out of range.
        """
        config, tokenizers, transformer = RunDirectory(run).load(which)
        config = config.override({"search": search}, "search")
        return cls(transformer, tokenizers, config.search, config.model.max_positions)

    def _search(self, with_attention: bool) -> Callable:
        key = (self.search.beam_size, with_attention)
        if key not in self._compiled:

            @tf.function(
                input_signature=[
                    tf.TensorSpec((None, None), tf.int32),
                    tf.TensorSpec((None,), tf.int32),
                    tf.TensorSpec((), tf.float32),
                ]
            )
            def search(source_ids, limits, alpha):
                return beam_search(self.transformer, source_ids, limits, key[0], alpha, with_attention)

            self._compiled[key] = search
        return self._compiled[key]

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the source ids of sentences, with start and end tokens."""
        ids = self.tokenizers.source.tokenize(tf.constant(list(sentences), tf.string))
        return [[START_ID, *row, END_ID] for row in ids.to_list()]

    def translate(
        self,
        sentences: Sequence[str],
        n_best: int = 1,
        with_attention: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[Translation]]:
        """Translate sentences; each gets `n_best` hypotheses, best first, in the order of the sentences.

        Sentences are sorted by length and searched in batches of `search.batch_tokens`. An empty sentence gives an
        empty translation; one that is longer than the model's limit is cut; both carry a warning.

        Args:
            sentences: any strings.
            n_best: at most the beam size.
            with_attention: also return attention weights.
            progress: called with the number of sentences done.

        Raises:
            ValueError: `n_best` is not from 1 to the beam size.
        """
        if not 1 <= n_best <= self.search.beam_size:
            raise ValueError(f"n_best must be from 1 to beam_size={self.search.beam_size}, got {n_best!r}")
        if not sentences:
            return []
        rows = self.encode(sentences)
        warnings = [self._warnings(row) for row in rows]
        rows = [self._fit(row) for row in rows]
        results: list[list[Translation]] = [[] for _ in rows]
        todo = sorted((i for i, row in enumerate(rows) if len(row) > 2), key=lambda i: len(rows[i]), reverse=True)
        for i in set(range(len(rows))) - set(todo):
            results[i] = [Translation("", 0.0, 0.0, warnings=tuple(warnings[i]))] * n_best
        done = len(rows) - len(todo)
        batches = []
        while todo:
            size = max(1, self.search.batch_tokens // (len(rows[todo[0]]) * self.search.beam_size))
            batches.append(todo[:size])
            todo = todo[size:]

        self._search(with_attention)  # made once, before two threads ask for it

        def search(batch: list[int]) -> tuple[list[int], list[list[Translation]]]:
            return batch, self._translate_batch([rows[i] for i in batch], n_best, with_attention)

        for batch, found in in_order(search, batches):
            for i, hypotheses in zip(batch, found, strict=True):
                results[i] = [dataclasses.replace(h, warnings=(*warnings[i], *h.warnings)) for h in hypotheses]
            done += len(batch)
            if progress:
                progress(done)
        return results

    def _fit(self, row: list[int]) -> list[int]:
        """Cut source ids to what the model reads; the end token stays."""
        return row if len(row) <= self.max_positions else [*row[: self.max_positions - 1], END_ID]

    def _warnings(self, row: list[int]) -> list[str]:
        words = row[1:-1]
        if not words:
            return ["empty sentence"]
        warnings = []
        if len(row) > self.max_positions:
            warnings.append(f"cut from {len(row)} to {self.max_positions} tokens, the longest the model reads")
        unknown, known = self.tokenizers.source.count_unknown(words)
        if unknown:
            warnings.append(f"{'has' if known else 'made only of'} characters the model does not know")
        return warnings

    def _limits(self, lengths: np.ndarray) -> np.ndarray:
        longest = self.search.max_length or lengths + self.search.max_extra_length
        return np.minimum(np.broadcast_to(longest, lengths.shape), self.max_positions).astype(np.int32)

    def _translate_batch(self, rows: list[list[int]], n_best: int, with_attention: bool) -> list[list[Translation]]:
        source_ids = tf.ragged.constant(rows, tf.int32).to_tensor()
        limits = self._limits(np.array([len(row) for row in rows]))
        found = self._search(with_attention)(
            source_ids, tf.constant(limits), tf.constant(self.search.length_penalty, tf.float32)
        )
        texts = self.tokenizers.target.detokenize(tf.reshape(found.ids[:, :n_best], (-1, tf.shape(found.ids)[2])))
        texts = [one_line(text.decode("utf-8", "replace")) for text in texts.numpy()]
        numbers = [part.numpy() for part in found]
        return [
            [
                self._translation(row, texts[b * n_best + w], *(part[b, w] for part in numbers), with_attention)
                for w in range(n_best)
            ]
            for b, row in enumerate(rows)
        ]

    def _translation(
        self, row, text, ids, score, log_probability, length, finished, attention, with_attention
    ) -> Translation:
        words = ids[: length - 1] if finished else ids[:length]
        return Translation(
            text,
            float(score),
            float(log_probability),
            tuple(self.tokenizers.target.pieces(words)) if with_attention else (),
            tuple(["[start]", *self.tokenizers.source.pieces(row[1:-1]), "[end]"]) if with_attention else (),
            attention[:length, : len(row)] if with_attention else None,
            bool(finished),
            () if finished else ("cut at the longest output length",),
        )


def one_line(text: str) -> str:
    """Return the text with line breaks, which byte fallback can generate, turned into blanks."""
    return text.replace("\r", " ").replace("\n", " ")


@lru_cache(maxsize=1)
def default_translator() -> Translator:
    """Load the translator of the default run once.

    Raises:
        UserError: the default run was not trained yet.
    """
    return Translator.load(DEFAULT_RUN)


def evaluate(sentence: str, translator: Translator | None = None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Return the ids of a sentence's translation and the attention weights over it.

    Args:
        sentence: the text.
        translator: None means that of the default run, `python train.py`.

    Returns:
        ids (T,) int32, start token first, and the attention weights of every decoder layer as `Decoder` returns them,
        (1, H, T, T or S).

    Raises:
        UserError: `translator` is None and the default run was not trained yet.

    Source: document 000, section 5.3.3.
    Deviation: the document's greedy loop computes every position anew at each token; here the configured search with a
        cache finds the ids, then one pass over them gives the weights. The end token is left out, as there.
    """
    translator = translator or default_translator()
    row = translator._fit(translator.encode([sentence])[0])
    source_ids = tf.constant([row], tf.int32)
    words = tf.zeros((0,), tf.int32)
    if len(row) > 2:  # else an empty sentence, whose translation is empty
        limits = tf.constant(translator._limits(np.array([len(row)])))
        found = translator._search(False)(source_ids, limits, tf.constant(translator.search.length_penalty, tf.float32))
        words = found.ids[0, 0, : found.lengths[0, 0] - tf.cast(found.finished[0, 0], tf.int32)]
    ids = tf.concat([[START_ID], words], axis=0)[: translator.max_positions]
    _, attention_weights = translator.transformer.decode(source_ids, ids[tf.newaxis], training=False)
    return ids, attention_weights


def translate(sentence: str, translator: Translator | None = None) -> str:
    """Return the translation of a sentence; see `evaluate` for the arguments.

    Source: document 000, section 5.3.3.
    Deviation: warnings (an empty or over-long sentence) go to stderr.
    """
    best = (translator or default_translator()).translate([sentence])[0][0]
    for warning in best.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return best.text
