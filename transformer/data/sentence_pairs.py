"""Pairs of sentences: rows of consecutive ones, and of each row a pair whose second half may be of another document.

Axes: B rows, T tokens, S sentences of a row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from transformer.data.batches import Record
from transformer.data.records import Flat
from transformer.ids import END_ID, START_ID

ENDS = 3  # tokens that a pair has besides its sentences': a start, and an end behind each half
NEXT, OTHER = 1, 2  # labels
NOBODY = -1  # the number of no document


class Pair(NamedTuple):
    """Rows as a model reads them, before anything is masked."""

    ids: tf.Tensor  # (B, T) int32, padded with 0
    segments: tf.Tensor  # (B, T) int32, 1 in the second half and its end
    sentence: tf.Tensor  # (B,) int32: `NEXT`, `OTHER`, or 0 where there is no second half or no other document


def rows_of(
    passages: Sequence[tuple[int, Sequence[np.ndarray]]], max_tokens: int, pairs: bool, chance: np.random.Generator
) -> dict[str, Flat]:
    """Return rows of consecutive sentences, as many as fit, by columns.

    `tokens` and `sentences`, how many of them each sentence has; `other` and `other_sentences`, likewise of another
    document, empty where no pairs are wanted or no other document is there; `documents`, the numbers of the row's and
    of the other one. A sentence that is longer than a row, or
    than half a pair, is cut.

    Args:
        passages: the number of its document, and the ids of its sentences.
        max_tokens: of a row, start and ends included.
        pairs: whether rows are pairs.
        chance: chooses the other documents.
    """
    most = max_tokens - (ENDS if pairs else ENDS - 1)
    longest = most // 2 if pairs else most
    cut = [
        (document, [s[i : i + longest] for s in sentences for i in range(0, len(s), longest)])
        for document, sentences in passages
    ]
    cut = [(document, sentences) for document, sentences in cut if sentences]
    rows = [(document, row) for document, sentences in cut for row in _packed(sentences, most)]
    documents = [document for document, _ in rows]
    found = _others(documents, cut, most, chance) if pairs else [(NOBODY, []) for _ in rows]
    others = [sentences for _, sentences in found]
    return {
        "tokens": _flat([np.concatenate(row) for _, row in rows]),
        "sentences": _flat([np.array([len(s) for s in row], np.int32) for _, row in rows]),
        "other": _flat([np.concatenate([*other, np.zeros(0, np.int32)]) for other in others]),
        "other_sentences": _flat([np.array([len(s) for s in other], np.int32) for other in others]),
        "documents": _flat([np.array([own, other]) for own, (other, _) in zip(documents, found, strict=True)]),
    }


def _flat(rows: Sequence[np.ndarray]) -> Flat:
    values = np.concatenate([np.zeros(0, np.int32), *rows]).astype(np.int32)
    return values, np.array([len(row) for row in rows], np.int64)


def _packed(sentences: Sequence[np.ndarray], most: int) -> list[list[np.ndarray]]:
    """Return rows of sentences, each of as many as have at most `most` tokens together."""
    rows: list[list[np.ndarray]] = []
    size = most
    for sentence in sentences:
        if size + len(sentence) > most:
            rows.append([])
            size = 0
        rows[-1].append(sentence)
        size += len(sentence)
    return rows


def _others(
    documents: Sequence[int], passages: Sequence[tuple[int, list[np.ndarray]]], most: int, chance: np.random.Generator
) -> list[tuple[int, list[np.ndarray]]]:
    """Return for each row's document another one and sentences of it, up to `most` tokens, or nothing of `NOBODY`."""
    owners = np.array([document for document, _ in passages])
    found: list[tuple[int, list[np.ndarray]]] = []
    for document in documents:
        choices = np.flatnonzero(owners != document)
        if not len(choices):
            found.append((NOBODY, []))
            continue
        other, sentences = passages[chance.choice(choices)]
        found.append((other, _packed(sentences[chance.integers(len(sentences)) :], most)[0]))
    return found


def paired(record: Record, max_tokens: int, seed: tf.Tensor | None) -> Pair:
    """Return rows as a model reads them; runs in the graph of tf.data.

    A row of several sentences is cut behind one of them, any as likely as another. In half of the rows that have
    another document, sentences of one take the place of the second half: as many as fit, and a part of one if none
    does. They are those of any row of the batch that is not of the same document, so that a row meets many.

    Args:
        record: from `rows_of`.
        max_tokens: as given there.
        seed: (2,) int64; None: no row is cut.
    """
    rows = record["tokens"].with_row_splits_dtype(tf.int64)
    if seed is None:
        first, second = rows, rows[:, :0]
        sentence = tf.zeros(tf.shape(rows.row_lengths()), tf.int32)
    else:
        first, second, sentence = _cut(record, max_tokens - ENDS, seed)
    ends = tf.fill((rows.nrows(), 1), END_ID)
    begins = tf.fill((rows.nrows(), 1), START_ID)
    second_ends = tf.RaggedTensor.from_tensor(ends, tf.cast(second.row_lengths() > 0, tf.int64))
    ids = tf.concat([begins, first, ends, second, second_ends], axis=1)
    segments = tf.concat(
        [tf.zeros_like(part) for part in (begins, first, ends)]
        + [tf.ones_like(part) for part in (second, second_ends)],
        axis=1,
    )
    return Pair(ids.to_tensor(), segments.to_tensor(), sentence)


def _cut(record: Record, most: int, seed: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.Tensor]:
    """Return the first halves, the second ones, and the labels (B,)."""
    cut_seed, coin_seed, partner_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    record = {**record, **_exchanged(record, partner_seed)}
    rows, others = (record[name].with_row_splits_dtype(tf.int64) for name in ("tokens", "other"))
    lengths, other_lengths = (
        tf.cast(record[name].to_tensor(), tf.int64) for name in ("sentences", "other_sentences")
    )  # (B, S)
    count = record["sentences"].with_row_splits_dtype(tf.int64).row_lengths()  # (B,)
    chances = tf.random.stateless_uniform(tf.shape(count), cut_seed, 0, 2**31, tf.int64)
    cut_behind = tf.where(count > 1, 1 + chances % tf.maximum(count - 1, 1), count)  # sentences in the first half
    inside = tf.range(tf.shape(lengths)[1], dtype=tf.int64) < cut_behind[:, tf.newaxis]
    border = tf.reduce_sum(tf.where(inside, lengths, 0), axis=1)  # (B,), tokens in the first half
    # As many whole sentences as fit; a shorter part where none does.
    room = tf.cast(most, tf.int64) - border
    ends = tf.cumsum(other_lengths, axis=1)
    fitting = tf.reduce_max(tf.where(ends <= room[:, tf.newaxis], ends, 0), axis=1)
    fitting = tf.where(fitting > 0, fitting, tf.minimum(room, others.row_lengths()))
    coin = tf.random.stateless_uniform(tf.shape(count), coin_seed) < 0.5
    possible = (count > 1) & (others.row_lengths() > 0)
    other = possible & coin
    second = tf.concat(
        [
            _slices(rows, border, tf.where(other, border, rows.row_lengths())),
            _slices(others, 0 * border, tf.where(other, fitting, 0)),
        ],
        axis=1,
    )
    sentence = tf.where(possible, tf.where(other, OTHER, NEXT), 0)
    return _slices(rows, 0 * border, border), second, sentence


def _exchanged(record: Record, seed: tf.Tensor) -> Record:
    """Return the columns of other documents, each row's taken from any row where that is not of its own document."""
    own, other = tf.unstack(tf.reshape(record["documents"].flat_values, (-1, 2)), axis=1)  # (B,) each
    count = tf.shape(own)[0]
    places = tf.random.stateless_uniform((count,), seed, 0, tf.maximum(count, 1), tf.int32)
    theirs = tf.gather(other, places)
    places = tf.where((theirs != own) & (theirs != NOBODY), places, tf.range(count))
    return {name: tf.gather(record[name], places) for name in ("other", "other_sentences")}


def _slices(rows: tf.RaggedTensor, starts: tf.Tensor, ends: tf.Tensor) -> tf.RaggedTensor:
    """Return of each row the part from a start to an end, (B,) int64 each."""
    places = tf.ragged.range(rows.row_starts() + starts, rows.row_starts() + ends)
    return tf.ragged.map_flat_values(lambda places: tf.gather(rows.flat_values, places), places)
