"""The contrastive loss: a text's vector is nearer to that of its positive than to those of other texts.

Axes: B pairs whose loss is asked for, N pairs of the whole batch, E numbers of a vector, K texts of a pair: 2, or 3
with a hard negative.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from transformer.config.checks import require, require_choice

DENOMINATORS = ("positives", "anchors")
HIDDEN_LOGIT = -1e9  # of candidates that do not count; float32


class Embedded(NamedTuple):
    """Vectors of pairs, of any length each."""

    vectors: tuple[tf.Tensor, ...]  # K times (N, E): of the anchors, their positives and perhaps hard negatives
    keys: tf.Tensor  # (N, K) integers: equal texts have equal ones; 0: there is no text


def contrastive_losses(
    own: Embedded,
    every: Embedded,
    places: tf.Tensor,
    temperature: float,
    denominator: str = "positives",
    symmetric: bool = True,
) -> tf.Tensor:
    """Return the loss of each pair, in nats, (B,) float32; 0 of a pair without texts.

    With vectors h of anchors and h+ of positives, sim their cosine and t the temperature,

        L_i = -log( exp(sim(h_i, h+_i) / t) / sum over j of exp(sim(h_i, c_j) / t) ),

    where the candidates c are all positives and hard negatives of the batch or, with `denominator` 'anchors', all
    anchors, h_i among them: document 001's formula to the letter. With `symmetric`, L_i is the mean of this and of the
    same with anchors and positives exchanged, without hard negatives. A candidate c_j, j not i, whose pair has a text
    of pair i, is no negative and does not count; nor does a hard negative that is a text of pair i.

    Args:
        own: the pairs whose loss is asked for.
        every: all pairs of the batch, `own` among them.
        places: (B,) of `own` in `every`.
        temperature: t, above 0.
        denominator: 'positives' or 'anchors'.
        symmetric: whether positives look for their anchors, too.

    Raises:
        ValueError: a temperature that is not above 0, or an unknown denominator.

    Source: van den Oord et al. 2018, equation 4; Chen et al. 2020, equation 1 (temperature and cosine); Radford et al.
        2021, figure 3 (both directions). Document 001, section 4.3.2 ('anchors').
    Deviation: duplicates are left out of the denominator.
    """
    require(temperature > 0, "temperature", "above 0", temperature)
    require_choice("denominator", denominator, DENOMINATORS)
    own_sides = [tf.math.l2_normalize(tf.cast(side, tf.float32), axis=-1) for side in own.vectors]
    all_sides = [tf.math.l2_normalize(tf.cast(side, tf.float32), axis=-1) for side in every.vectors]
    itself = places[:, tf.newaxis] == tf.range(tf.shape(every.keys)[0], dtype=places.dtype)  # (B, N)
    there = every.keys != 0  # (N, K)
    counted = there[:, 0] & (itself | ~_shared(own.keys, every.keys[:, :2]))
    one, other = (1, 0) if denominator == "positives" else (0, 1)  # side that anchors and positives are compared with
    agreement = tf.reduce_sum(own_sides[0] * own_sides[1], axis=-1) / temperature  # (B,)
    candidates, visible = all_sides[one], counted
    if len(all_sides) > 2 and denominator == "positives":
        candidates = tf.concat([candidates, all_sides[2]], axis=0)
        visible = tf.concat([counted, there[:, 2] & ~_shared(own.keys, every.keys[:, 2:])], axis=1)
    losses = _log_sums(own_sides[0], candidates, visible, temperature) - agreement
    if symmetric:
        losses = (losses + _log_sums(own_sides[1], all_sides[other], counted, temperature) - agreement) / 2
    return losses * tf.cast(own.keys[:, 0] != 0, tf.float32)


def _shared(keys: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return whether the anchor or the positive of a pair is a text of another: (B, K), (N, any) -> (B, N)."""
    pairs = keys[:, tf.newaxis, :2, tf.newaxis] == others[tf.newaxis, :, tf.newaxis]  # (B, N, 2, any)
    return tf.reduce_any(pairs, axis=[2, 3])


def _log_sums(vectors: tf.Tensor, candidates: tf.Tensor, visible: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return the logarithm of each denominator, (B,)."""
    logits = tf.matmul(vectors, candidates, transpose_b=True) / temperature
    return tf.reduce_logsumexp(tf.where(visible, logits, HIDDEN_LOGIT), axis=-1)


def nested_losses(
    own: Embedded, every: Embedded, places: tf.Tensor, sizes: Sequence[int], **options: object
) -> tf.Tensor:
    """Return the mean of `contrastive_losses` over vectors cut to their first numbers, so many each, (B,).

    Args:
        own, every, places: as there.
        sizes: how many numbers; none: all of them alone.
        options: as there.

    Source: Kusupati et al. 2022, equation 1.
    Deviation: the mean rather than the sum, so that the figure does not depend on how many sizes there are.
    """
    if not sizes:
        return contrastive_losses(own, every, places, **options)  # type: ignore[arg-type]

    def cut(embedded: Embedded, size: int) -> Embedded:
        return embedded._replace(vectors=tuple(side[:, :size] for side in embedded.vectors))

    every_loss = [contrastive_losses(cut(own, n), cut(every, n), places, **options) for n in sizes]  # type: ignore[arg-type]
    return tf.add_n(every_loss) / len(sizes)


def gathered(own: Embedded) -> tuple[Embedded, tf.Tensor]:
    """Return the pairs of all replicas of a step together, and the places (B,) of this replica's among them.

    The gradient flows back to every replica. On one device nothing is gathered.

    Args:
        own: of this replica; the others may have more pairs or fewer.
    """
    context = tf.distribute.get_replica_context()
    rows, count = tf.shape(own.keys)[0], context.num_replicas_in_sync
    if count == 1:
        return own, tf.range(rows)
    number = context.replica_id_in_sync_group
    mine = tf.one_hot(number, count)  # (replicas,)

    def together(values: tf.Tensor) -> tf.Tensor:
        """Return what the replicas have, (replicas, ...); each fills its own place of a sum."""
        spread = tf.reshape(mine, [count] + [1] * values.shape.rank)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, spread * values[tf.newaxis])

    most = tf.cast(tf.reduce_max(together(tf.cast(rows, tf.float32))), tf.int32)

    def of_all(values: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(values, [[0, most - rows], [0, 0]])
        return tf.reshape(together(padded), [-1, values.shape[1]])

    vectors = tuple(of_all(tf.cast(side, tf.float32)) for side in own.vectors)
    halves = [tf.cast(half, tf.float32) for half in (own.keys // 2**16, own.keys % 2**16)]  # exact in float32
    keys = [tf.cast(of_all(half), tf.int32) for half in halves]
    return Embedded(vectors, keys[0] * 2**16 + keys[1]), number * most + tf.range(rows)
