"""How likely texts are to a language model.

Axes: B windows of a batch, T tokens of a window.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transformer.data.examples.text_documents import Part
from transformer.ids import PAD_ID
from transformer.losses.cross_entropy import token_losses
from transformer.system.graphs import Graph
from transformer.tasks.language_model import LanguageModel

TOGETHER = 1024  # tokens whose logits are held at once, more or less a window


@dataclasses.dataclass(frozen=True)
class TextScore:
    """How likely a text is; scores of several are added with `+`."""

    log_probability: float  #: summed over tokens, in nats
    tokens: int  #: that were predicted: all, but for a first one that no start token stands before
    bytes: int  #: of the text in UTF-8

    def __add__(self, other: "TextScore") -> "TextScore":
        return TextScore(
            self.log_probability + other.log_probability, self.tokens + other.tokens, self.bytes + other.bytes
        )

    @property
    def perplexity(self) -> float:
        """The inverse of the geometric mean of the tokens' probabilities."""
        return math.exp(-self.log_probability / max(1, self.tokens))

    @property
    def byte_perplexity(self) -> float:
        """The same by bytes, so that models with different vocabularies can be compared."""
        return math.exp(-self.log_probability / max(1, self.bytes))

    @property
    def bits_per_byte(self) -> float:
        """The logarithm of `byte_perplexity` to the base 2."""
        return -self.log_probability / max(1, self.bytes) / math.log(2)


class Window(NamedTuple):
    """Tokens of a text that are read together."""

    text: int  # number of the text
    ids: np.ndarray  # one more than are read
    new: int  # how many of the last ones no window before predicted


class TextScorer:
    """Scores texts with a trained language model, also texts that are longer than its context.

    A long text is read in windows of `data.max_tokens` tokens, each `stride` tokens further, and a token is predicted
    in the first that holds it: once it has begun, at least context - stride tokens stand before each.

    Args:
        task: of the run.
        network: its network.
        stride: tokens; 0: half of the context. The smaller, the better the scores, and the longer it takes.

    Raises:
        ValueError: `stride` is not from 0 to the context.
    """

    def __init__(self, task: LanguageModel, network: keras.Model, stride: int = 0) -> None:
        if not 0 <= stride <= task.window:
            raise ValueError(f"stride must be from 0 to the context of {task.window} tokens, got {stride}")
        self.task, self.context, self.stride = task, task.window, stride or max(1, task.window // 2)
        ids = tf.TensorSpec((None, None), tf.int32)
        self._losses = Graph(lambda ids, labels: token_losses(labels, network(ids, training=False)), ids, ids)

    def score(self, texts: Iterable[str], end: bool = False) -> list[TextScore]:
        """Return the score of each text, `end`: of its end too."""
        return self.score_documents([Part(text, True, end)] for text in texts)

    def score_documents(self, documents: Iterable[Sequence[Part]]) -> list[TextScore]:
        """Return the score of each document, given as its parts."""
        totals: list[float] = []
        sizes: list[tuple[int, int]] = []

        def windows() -> Iterator[Window]:
            for number, parts in enumerate(documents):
                ids = self.task.ids(parts)
                totals.append(0.0)
                sizes.append((max(0, len(ids) - 1), sum(len(part.text.encode()) for part in parts)))
                yield from self._windows(number, ids)

        for batch in _batched(windows(), max(1, TOGETHER // self.context)):
            longest = max(len(window.ids) for window in batch)
            rows = np.array([np.pad(w.ids, (0, longest - len(w.ids)), constant_values=PAD_ID) for w in batch])
            losses = self._losses(rows[:, :-1], rows[:, 1:]).numpy()  # (B, T)
            for window, row in zip(batch, losses, strict=True):
                last = len(window.ids) - 1
                totals[window.text] -= float(np.sum(row[last - window.new : last], dtype=np.float64))
        return [TextScore(total, *size) for total, size in zip(totals, sizes, strict=True)]

    def _windows(self, text: int, ids: np.ndarray) -> Iterator[Window]:
        done = 1  # tokens that have been predicted, and the first, which cannot be
        while done < len(ids):
            new = min(len(ids) - done, self.context if done == 1 else self.stride)
            done += new
            yield Window(text, ids[max(0, done - self.context - 1) : done], new)


def _batched(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    return iter(lambda: list(itertools.islice(items, size)), [])
