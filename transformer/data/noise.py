"""Noise that an encoder-decoder learns to undo, in the graph of tf.data. Each function is pure in its seed.

Rows are ids (B, T), int32, with 0 behind their tokens, and never among them. n is a row's number of tokens.

Axes: B rows, T tokens, U tokens of a noised row, V vocabulary.
"""

import numpy as np
import tensorflow as tf

from transformer.data.tokenizers.base import Tokenizer
from transformer.ids import MASK_ID, PAD_ID

SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？")


def masked_tokens(ids: tf.Tensor, seed: tf.Tensor, rate: float, mask_id: int) -> tf.Tensor:
    """Replace each token by the mask with probability `rate`, but none that is the mask already.

    Source: Lewis et al. 2020, section 2.2, "Token Masking".
    """
    chosen = (tf.random.stateless_uniform(tf.shape(ids), seed) < rate) & (ids != PAD_ID)
    return tf.where(chosen, mask_id, ids)


def deleted_tokens(ids: tf.Tensor, seed: tf.Tensor, rate: float, mask_id: int) -> tf.Tensor:
    """Leave out each token with probability `rate`, but no mask.

    Source: Lewis et al. 2020, section 2.2, "Token Deletion".
    """
    chosen = (tf.random.stateless_uniform(tf.shape(ids), seed) < rate) & (ids != mask_id)
    return _compacted(ids, (ids != PAD_ID) & ~chosen)


def infilled(ids: tf.Tensor, seed: tf.Tensor, rate: float, mean: float, mask_id: int, most: int) -> tf.Tensor:
    """Replace spans, together `rate` n tokens of a row, by one mask each: (B, T) -> (B, U).

    The number of tokens is rounded up or down at random, so that its mean is exact. Lengths of spans are drawn from a
    Poisson distribution until they cover as many; the last is cut. A span of length 0 inserts a mask. Spans and the
    tokens between them stand in a random order, in which two spans may touch.

    Args:
        ids: the rows.
        seed: (2,) int64.
        rate: share of the tokens.
        mean: of the Poisson distribution, at least 1.
        mask_id: of the mask.
        most: tokens that a row may have, at least T; masks that find no room are not inserted.

    Source: Lewis et al. 2020, section 2.2, "Text Infilling".
    """
    round_seed, length_seed, place_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    rows, width = tf.shape(ids)[0], tf.shape(ids)[1]
    tokens = _lengths(ids)  # (B, 1)
    covered = _rounded(rate, tokens, round_seed)
    drawn = tf.random.stateless_poisson((rows, 2 * width + 8), length_seed, mean, tf.int32)
    before = tf.minimum(tf.cumsum(drawn, axis=1, exclusive=True), covered)
    sizes = tf.minimum(tf.cumsum(drawn, axis=1), covered) - before
    filled, used = sizes > 0, before < covered
    spans = tf.reduce_sum(tf.cast(filled, tf.int32), axis=1, keepdims=True)
    empty = used & ~filled
    room = most - (tokens - covered) - spans
    used = filled | (empty & (tf.cumsum(tf.cast(empty, tf.int32), axis=1) <= room))
    sizes = tf.gather(sizes, tf.argsort(tf.cast(~used, tf.int32), axis=1, stable=True), batch_dims=1)  # used ones first
    spans = tf.reduce_sum(tf.cast(used, tf.int32), axis=1, keepdims=True)

    units = tokens - tf.reduce_sum(sizes * tf.sequence_mask(spans[:, 0], tf.shape(sizes)[1], tf.int32), 1, True) + spans
    length = tf.reduce_max(tf.concat([[0], units[:, 0]], axis=0))  # U
    real = tf.sequence_mask(units[:, 0], length)
    is_span = _chosen(real, spans, place_seed)  # (B, U)
    number = tf.maximum(tf.cumsum(tf.cast(is_span, tf.int32), axis=1) - 1, 0)
    taken = tf.where(is_span, tf.gather(sizes, number, batch_dims=1), tf.cast(real, tf.int32))
    place = tf.minimum(tf.cumsum(taken, axis=1, exclusive=True), tf.maximum(width - 1, 0))
    return tf.where(is_span, mask_id, tf.where(real, tf.gather(ids, place, batch_dims=1), PAD_ID))


def corrupted_spans(ids: tf.Tensor, seed: tf.Tensor, rate: float, mean: float, most: int) -> tf.Tensor:
    """Return which tokens are in spans that `with_sentinels` takes out: (B, T) bool.

    They are `rate` n tokens of a row, rounded up or down at random and at least one, in as many spans as gives the mean
    length. How they are divided into spans, and where these stand, is equally likely each way; no two touch.

    Args:
        ids: the rows.
        seed: (2,) int64.
        rate: share of the tokens.
        mean: length of a span, at least 1.
        most: spans of a row.

    Source: Raffel et al. 2020, section 3.3.4.
    Deviation: a row may begin with a span, and need not end with one, which the published code has it do.
    """
    round_seed, cut_seed, place_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    rows, width = tf.shape(ids)[0], tf.shape(ids)[1]
    tokens = _lengths(ids)  # (B, 1)
    covered = tf.minimum(tf.maximum(_rounded(rate, tokens, round_seed), 1), tokens)
    wanted = tf.cast(tf.round(tf.cast(covered, tf.float32) / mean), tf.int32)
    spans = tf.minimum(tf.maximum(wanted, 1), tf.minimum(tf.minimum(covered, most), tokens - covered + 1))
    # The taken tokens are numbered from 0; at each but the first a span may begin.
    number = tf.range(width)[tf.newaxis]
    begins = _chosen((number >= 1) & (number < covered), spans - 1, cut_seed)
    span = tf.cumsum(tf.cast(begins, tf.int32), axis=1)  # (B, T), of each of them
    # A span stands before one of the tokens that stay, or behind all of them.
    slots = _chosen(tf.range(width + 1)[tf.newaxis] <= tokens - covered, spans, place_seed)
    slot = tf.argsort(tf.cast(~slots, tf.int32), axis=1, stable=True)  # of each span, ascending
    place = number + tf.gather(slot, span, batch_dims=1)
    row = tf.broadcast_to(tf.range(rows)[:, tf.newaxis], tf.shape(place))
    at = tf.boolean_mask(tf.stack([row, place], axis=2), number < covered)
    return tf.scatter_nd(at, tf.ones_like(at[:, 0]), tf.shape(ids)) > 0


def with_sentinels(ids: tf.Tensor, corrupted: tf.Tensor, first: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return rows in which each span of corrupted tokens is one sentinel, and the spans alone: (B, U) twice.

    A sentinel stands before each span, the same on both sides, and one more ends the spans:
    "thank you <X> me to your party <Y> week" and "<X> for inviting <Y> last <Z>".

    Args:
        ids: the rows.
        corrupted: (B, T) bool.
        first: id of the first sentinel; the next one has the next id.

    Source: Raffel et al. 2020, section 3.1.4 and figure 2.
    """
    corrupted &= ids != PAD_ID
    begins = corrupted & ~tf.pad(corrupted[:, :-1], [[0, 0], [1, 0]])
    sentinel = first + tf.cumsum(tf.cast(begins, tf.int32), axis=1) - 1  # (B, T)
    source = _compacted(tf.where(begins, sentinel, ids), (ids != PAD_ID) & (begins | ~corrupted))
    pairs = tf.stack([tf.where(begins, sentinel, PAD_ID), tf.where(corrupted, ids, PAD_ID)], axis=2)  # (B, T, 2)
    last = first + tf.reduce_sum(tf.cast(begins, tf.int32), axis=1, keepdims=True)
    last = tf.where(_lengths(ids) > 0, last, PAD_ID)
    target = tf.concat([tf.reshape(pairs, (tf.shape(ids)[0], 2 * tf.shape(ids)[1])), last], axis=1)
    return source, _compacted(target, target != PAD_ID)


def permuted_sentences(ids: tf.Tensor, seed: tf.Tensor, rate: float, ends: np.ndarray) -> tf.Tensor:
    """Put the sentences of a share `rate` of the rows in a random order.

    A sentence ends behind the last of tokens that may end one; what follows the last such token is one too.

    Args:
        ids: the rows.
        seed: (2,) int64.
        rate: share of the rows.
        ends: (V,) bool, which tokens end a sentence, from `sentence_ends`.

    Source: Lewis et al. 2020, section 2.2, "Sentence Permutation".
    """
    row_seed, order_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    shape = tf.shape(ids)
    end = tf.gather(tf.constant(ends), ids) & (ids != PAD_ID)
    end &= ~tf.pad(end[:, 1:], [[0, 0], [0, 1]])
    sentence = tf.cumsum(tf.cast(end, tf.int32), axis=1, exclusive=True)  # (B, T), from 0
    rank = _ranks(tf.random.stateless_uniform(shape, order_seed))
    chosen = tf.random.stateless_uniform((shape[0], 1), row_seed) < rate
    key = tf.where(chosen, tf.gather(rank, sentence, batch_dims=1), sentence)
    order = tf.argsort(tf.where(ids != PAD_ID, key, shape[1]), axis=1, stable=True)
    return tf.gather(ids, order, batch_dims=1)


def rotated(ids: tf.Tensor, seed: tf.Tensor, rate: float) -> tf.Tensor:
    """Let a share `rate` of the rows begin at any token, and go on behind their ends with what stood before it.

    Source: Lewis et al. 2020, section 2.2, "Document Rotation".
    """
    row_seed, start_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    shape, tokens = tf.shape(ids), _lengths(ids)
    chosen = tf.random.stateless_uniform((shape[0], 1), row_seed) < rate
    any_number = tf.random.stateless_uniform((shape[0], 1), start_seed, 0, 2**31 - 1, tf.int32)
    start = tf.where(chosen, any_number % tf.maximum(tokens, 1), 0)
    place = tf.range(shape[1])[tf.newaxis]
    moved = tf.gather(ids, (place + start) % tf.maximum(tokens, 1), batch_dims=1)
    return tf.where(place < tokens, moved, PAD_ID)


def sentence_ends(tokenizer: Tokenizer) -> np.ndarray:
    """Return which ids end a sentence, (V,) bool: those of pieces that end with one of `SENTENCE_ENDS`."""
    pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
    text = np.arange(tokenizer.vocabulary_size) >= MASK_ID
    return np.array([piece.endswith(SENTENCE_ENDS) for piece in pieces]) & text


def _lengths(ids: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(ids != PAD_ID, tf.int32), axis=1, keepdims=True)  # (B, 1)


def _rounded(rate: float, tokens: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return `rate` times numbers of tokens (B, 1), rounded up or down so that the mean is exact."""
    exact = rate * tf.cast(tokens, tf.float32)
    return tf.minimum(tf.cast(tf.floor(exact + tf.random.stateless_uniform(tf.shape(tokens), seed)), tf.int32), tokens)


def _ranks(keys: tf.Tensor) -> tf.Tensor:
    """Return the place of each key (B, T) among those of its row in ascending order."""
    return tf.argsort(tf.argsort(keys, axis=1, stable=True), axis=1)


def _chosen(usable: tf.Tensor, wanted: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return `wanted` (B, 1) of the usable places of each row, any as likely as any other: (B, T) bool."""
    usable = tf.broadcast_to(usable, (tf.shape(wanted)[0], tf.shape(usable)[1]))
    keys = tf.where(usable, tf.random.stateless_uniform(tf.shape(usable), seed), 2.0)
    return usable & (_ranks(keys) < wanted)


def _compacted(ids: tf.Tensor, keep: tf.Tensor) -> tf.Tensor:
    """Return the tokens to keep of each row, one behind the other: (B, U)."""
    return tf.ragged.boolean_mask(ids, keep).to_tensor(PAD_ID)
