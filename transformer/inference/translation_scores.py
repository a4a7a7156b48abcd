"""How likely given translations are to a translator.

Axes: B pairs of a batch, S source, T target.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from transformer.ids import END_ID, START_ID
from transformer.inference.text_scores import TextScore
from transformer.inference.translator import Translator
from transformer.losses.cross_entropy import token_losses
from transformer.search.searcher import padded
from transformer.system.graphs import Graph

TOGETHER = 4096  # target tokens, padding counted, whose logits are held at once


class TooLong(ValueError):
    """A pair that the model cannot read in one piece.

    Attributes:
        pair: its number, from 0.
        tokens: of its longer side, with what marks start or end.
    """

    def __init__(self, pair: int, tokens: int, most: int) -> None:
        super().__init__(f"pair {pair + 1} must have at most {most} tokens a side, got {tokens}")
        self.pair, self.tokens = pair, tokens


class TranslationScorer:
    """Scores given translations of sentences: log P(target | source), the end token included.

    Each pair is read as it is, never split into sentences and never cut.

    Args:
        translator: whose first model is asked.
    """

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        model, ids = translator.transformer, tf.TensorSpec((None, None), tf.int32)

        def losses(source_ids: tf.Tensor, target_in: tf.Tensor, target_out: tf.Tensor) -> tf.Tensor:
            outputs, _ = model.decode(source_ids, target_in, training=False)
            return token_losses(target_out, model.project(outputs))  # (B, T)

        self._losses = Graph(losses, ids, ids, ids)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[TextScore]:
        """Return the score of each target, given its source.

        Raises:
            ValueError: not as many targets as sources.
            TooLong: a side of a pair has more tokens than the model has positions.
        """
        if len(sources) != len(targets):
            raise ValueError(f"targets must be as many as sources ({len(sources)}), got {len(targets)}")
        if not sources:
            return []
        source_rows = self.translator.encode(sources)
        target_rows = [[*row, END_ID] for row in self.translator.tokenizers.target.encode(targets)]
        lengths = np.array([(len(s), len(t)) for s, t in zip(source_rows, target_rows, strict=True)])
        longest, most = lengths.max(axis=1), self.translator.max_positions
        if longest.max() > most:
            pair = int(np.argmax(longest > most))
            raise TooLong(pair, int(longest[pair]), most)
        totals = np.zeros(len(targets))
        for batch in _batches(longest):
            target_out = [target_rows[i] for i in batch]
            target_in = [[START_ID, *row[:-1]] for row in target_out]
            losses = self._losses(padded([source_rows[i] for i in batch]), padded(target_in), padded(target_out))
            for i, row in zip(batch, losses.numpy(), strict=True):
                totals[i] = -np.sum(row[: len(target_rows[i])], dtype=np.float64)
        sizes = [
            (len(row), len(text.encode("utf-8", "replace"))) for row, text in zip(target_rows, targets, strict=True)
        ]
        return [TextScore(total, *size) for total, size in zip(totals.tolist(), sizes, strict=True)]


def _batches(longest: np.ndarray) -> list[list[int]]:
    """Return the numbers of pairs, sorted by their lengths, in groups of at most `TOGETHER` tokens with padding."""
    batches: list[list[int]] = [[]]
    for i in np.argsort(longest, kind="stable").tolist():
        if batches[-1] and (len(batches[-1]) + 1) * longest[i] > TOGETHER:
            batches.append([])
        batches[-1].append(i)
    return batches
