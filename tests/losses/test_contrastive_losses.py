"""The contrastive loss beside loops in NumPy, and its gradient where texts are embedded a few at a time."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.losses.contrastive import Embedded, contrastive_losses, nested_losses
from transformer.losses.gradient_cache import in_chunks


def cosine(one, other):
    return float(one @ other / math.sqrt(one @ one) / math.sqrt(other @ other))


def expected(first, second, temperature, denominator="positives", hidden=(), negatives=(), symmetric=True):
    """Return the losses of pairs by the formula, one after the other; `hidden` are (i, j) that do not count."""

    def direction(anchors, positives, more):
        losses = []
        for i, anchor in enumerate(anchors):
            candidates = anchors if denominator == "anchors" else positives
            total = sum(
                math.exp(cosine(anchor, other) / temperature)
                for j, other in enumerate(candidates)
                if j == i or (i, j) not in hidden
            )
            total += sum(math.exp(cosine(anchor, other) / temperature) for other in more)
            losses.append(-math.log(math.exp(cosine(anchor, positives[i]) / temperature) / total))
        return np.array(losses)

    there = direction(first, second, negatives)
    return (there + direction(second, first, [])) / 2 if symmetric else there


def vectors(count=5, size=6, sides=2, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(count, size)).astype(np.float32) for _ in range(sides)]


def of_all(sides, keys=None, **options):
    count = len(sides[0])
    keys = np.arange(1, 1 + count * len(sides)).reshape(len(sides), count).T if keys is None else np.array(keys)
    every = Embedded(tuple(map(tf.constant, sides)), tf.constant(keys, tf.int32))
    return contrastive_losses(every, every, tf.range(count), **{"temperature": 0.3, **options}).numpy()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("denominator", ["positives", "anchors"])
def test_each_pair_has_the_loss_of_the_formula(denominator, symmetric):
    first, second = vectors()
    ours = of_all([first, second], denominator=denominator, symmetric=symmetric)
    by_hand = expected(first, second, 0.3, denominator, symmetric=symmetric)
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5)


def test_the_documents_formula_is_worked_out_by_hand():
    """Two pairs in the plane, t = 1: sim(h, h+) = 0, 1; sim(h_1, h_2) = 0; so -log(1 / (e + 1)), -log(e / (1 + e))."""
    first, second = np.array([[1, 0], [0, 2]], np.float32), np.array([[0, 3], [0, 1]], np.float32)
    ours = of_all([first, second], temperature=1.0, denominator="anchors", symmetric=False)
    np.testing.assert_allclose(ours, [math.log(math.e + 1), math.log(1 + math.e) - 1], rtol=1e-6)


def test_texts_that_occur_twice_are_no_negatives():
    first, second = vectors()
    first[3], second[4] = first[0], second[1]
    keys = [[1, 11], [2, 12], [3, 13], [1, 14], [5, 12]]  # pairs 0 and 3, and 1 and 4, have a text in common
    hidden = {(0, 3), (3, 0), (1, 4), (4, 1)}
    np.testing.assert_allclose(of_all([first, second], keys), expected(first, second, 0.3, hidden=hidden), rtol=1e-5)


def test_hard_negatives_are_candidates_unless_they_are_right_or_missing():
    first, second, hard = vectors(3, sides=3)
    keys = [[1, 11, 21], [2, 12, 11], [3, 13, 0]]  # the second negative is the positive of pair 0; there is no third
    ours = of_all([first, second, hard], keys)
    backwards = expected(second, first, 0.3, symmetric=False)
    for i, negatives in enumerate([hard[:1], hard[:2], hard[:2]]):
        forwards = expected(first, second, 0.3, negatives=negatives, symmetric=False)
        assert ours[i] == pytest.approx((forwards[i] + backwards[i]) / 2, rel=1e-5)


def test_rows_of_padding_change_nothing_and_have_no_loss():
    first, second = vectors()
    padded = [np.pad(side, [[0, 2], [0, 0]]) for side in (first, second)]
    keys = np.pad(np.arange(1, 11).reshape(2, 5).T, [[0, 2], [0, 0]])
    ours = of_all(padded, keys)
    np.testing.assert_allclose(ours, [*expected(first, second, 0.3), 0, 0], rtol=1e-5)


def test_nested_sizes_have_the_mean_of_their_losses():
    first, second = vectors()
    every = Embedded((tf.constant(first), tf.constant(second)), tf.constant(np.arange(1, 11).reshape(2, 5).T))
    ours = nested_losses(every, every, tf.range(5), [2, 6], temperature=0.3)
    by_hand = (expected(first[:, :2], second[:, :2], 0.3) + expected(first, second, 0.3)) / 2
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"denominator": "all"}])
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        of_all(vectors(), **wrong)


@pytest.fixture(scope="module")
def network():
    """Return a small network with dropout and a batch for it."""
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Embedding(20, 8), keras.layers.Dropout(0.5, seed=7), keras.layers.GlobalAveragePooling1D()]
    model = keras.Sequential([*layers, keras.layers.Dense(4, activation="tanh")])
    model.build((None, 3))
    return model, tf.constant(np.random.default_rng(0).integers(1, 20, (7, 3)))


def loss_and_gradients(model, embed, rows):
    @tf.function
    def step():
        with tf.GradientTape() as tape:
            found = embed(rows)
            keys = tf.stack([tf.range(1, 8), tf.range(11, 18)], axis=1)
            every = Embedded((found, tf.reverse(found, [1])), keys)
            loss = tf.reduce_sum(contrastive_losses(every, every, tf.range(7), 0.2))
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, model.trainable_variables)]

    return step()


@pytest.mark.parametrize("size", [2, 7, 50])
def test_a_batch_in_chunks_has_the_plain_gradient(network, size):
    model, rows = network
    plain = loss_and_gradients(model, lambda rows: model(rows, training=False), rows)
    ours = loss_and_gradients(model, lambda rows: in_chunks(lambda r: model(r, training=False), rows, size), rows)
    assert float(ours[0]) == pytest.approx(float(plain[0]), rel=1e-6)
    for one, other in zip(ours[1], plain[1], strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)


def test_chunks_are_read_again_under_the_same_dropout(network):
    """The same random states give the same masks: the gradient is that of the loss that was told."""
    model, rows = network
    states = model.non_trainable_variables
    before = [state.numpy() for state in states]

    def restored(embed):
        for state, value in zip(states, before, strict=True):
            state.assign(value)
        return loss_and_gradients(model, embed, rows)

    def one_by_one(rows):
        rows = tf.pad(rows, [[0, 1], [0, 0]])
        return tf.concat([model(rows[i : i + 4], training=True) for i in (0, 4)], axis=0)[:7]

    ours = restored(lambda rows: in_chunks(lambda r: model(r, training=True), rows, 4, states))
    after = [state.numpy() for state in states]
    plain = restored(one_by_one)
    assert states and all((one == other.numpy()).all() for one, other in zip(after, states, strict=True))
    assert float(ours[0]) == pytest.approx(float(plain[0]), rel=1e-6)
    for one, other in zip(ours[1], plain[1], strict=True):
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)
