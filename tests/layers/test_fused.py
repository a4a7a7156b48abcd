"""The fast kernels against Keras' own layers and against what they promise."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.layers import fused
from transformer.layers.attention import MultiHeadAttention


def gradients(layer, x, upstream):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y, tape.gradient(y, [x, *(weight.value for weight in layer.weights)], output_gradients=upstream)


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 6), (2, 0, 6), (2, 3, 2, 6)])
def test_normalisation_and_its_gradients_are_those_of_keras(shape):
    generator = np.random.default_rng(1)
    ours, theirs = fused.LayerNormalization(), keras.layers.LayerNormalization()
    for layer in (ours, theirs):
        layer.build(shape)
    values = [generator.normal(size=weight.shape).astype(np.float32) for weight in theirs.weights]
    ours.set_weights(values)
    theirs.set_weights(values)
    x = tf.constant(generator.normal(1, 3, shape), tf.float32)
    upstream = tf.constant(generator.normal(size=theirs(x).shape), tf.float32)
    y, ours_gradients = tf.function(gradients, autograph=False)(ours, x, upstream)
    expected, their_gradients = gradients(theirs, x, upstream)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert len(ours_gradients) == 3
    for one, other in zip(ours_gradients, their_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_normalisation_by_hand():
    layer = fused.LayerNormalization(epsilon=0.0)
    layer.build((None, 4))
    layer.set_weights([np.array([1.0, 1.0, 2.0, 1.0]), np.array([0.0, 0.5, 0.0, 0.0])])
    # mean 2, variance 4: (-1, 0, 1, ...) and so on
    x = tf.constant([[0.0, 2.0, 4.0, 2.0]])
    root = 2.0**0.5
    np.testing.assert_allclose(layer(x), [[-root, 0.5, 2 * root, 0.0]], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["LayerNormalization", "Dropout"])
def test_low_precision(kind):
    arguments = {"rate": 0.5} if kind == "Dropout" else {}
    layer = getattr(fused, kind)(**arguments, dtype="mixed_bfloat16")
    x = tf.ones((2, 3, 6))
    y = layer(x, training=True) if kind == "Dropout" else layer(x)
    assert y.dtype == tf.bfloat16 and y.shape == (2, 3, 6)
    assert all(weight.dtype == "float32" for weight in layer.trainable_weights)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.999])
def test_dropout_rate_scale_and_gradient(rate):
    layer = fused.Dropout(rate, seed=3)
    x = tf.ones((251, 33, 121))  # an odd number of places
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    count = y.numpy().size
    dropped = np.mean(y == 0)
    assert abs(dropped - rate) < 5 * (rate * (1 - rate) / count) ** 0.5 + 2.0**-17
    kept = y.numpy()[y != 0]
    np.testing.assert_allclose(kept, 1 / (1 - rate), rtol=2e-2 if rate > 0.99 else 1e-4)
    np.testing.assert_array_equal(tape.gradient(y, x), y)
    columns = np.mean(y == 0, axis=(0, 1))  # no place is special
    assert abs(columns - rate).max() < 6 * (rate * (1 - rate) * 121 / count) ** 0.5


def test_dropout_draws_anew_and_again():
    first, second = fused.Dropout(0.5, seed=1), fused.Dropout(0.5, seed=1)
    x = tf.ones((8, 8))
    draws = [first(x, training=True).numpy() for _ in range(2)]
    assert (draws[0] != draws[1]).any()
    np.testing.assert_array_equal(draws, [second(x, training=True) for _ in range(2)])
    np.testing.assert_array_equal(first(x), x)


@pytest.mark.parametrize("rate, expected", [(0.0, 1.0), (1.0, 0.0)])
def test_dropout_at_its_ends(rate, expected):
    np.testing.assert_array_equal(fused.Dropout(rate)(tf.ones((3, 2)), training=True), np.full((3, 2), expected))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "transposed, x_shape, y_shape",
    [
        ({}, (2, 3, 4, 5), (2, 3, 5, 6)),
        ({"transpose_b": True}, (2, 3, 4, 5), (2, 3, 6, 5)),
    ],
)
@pytest.mark.parametrize("small", [120, 119])  # 4 * 5 * 6 = 120 multiplications a product
def test_products_of_small_matrices_and_their_first_and_second_gradients(
    small, transposed, x_shape, y_shape, dtype, monkeypatch
):
    monkeypatch.setattr(fused, "SMALL", small)
    generator = np.random.default_rng(2)
    x, y = (tf.constant(generator.normal(size=shape), dtype) for shape in (x_shape, y_shape))

    def gradients_of(matmul):
        with tf.GradientTape() as outer:
            outer.watch([x, y])
            with tf.GradientTape() as tape:
                tape.watch([x, y])
                product = matmul(x, y, **transposed)
                total = tf.reduce_sum(product**2)
            firsts = tape.gradient(total, [x, y])
            length = sum(tf.reduce_sum(first**2) for first in firsts)
        return [product, *firsts, *outer.gradient(length, [x, y])]

    ours = tf.function(gradients_of, autograph=False)(functools.partial(fused.matmul, training=True))
    for one, other in zip(ours, gradients_of(tf.matmul), strict=True):
        assert one.dtype == other.dtype == dtype and one.shape == other.shape
        np.testing.assert_allclose(tf.cast(one, tf.float32), tf.cast(other, tf.float32), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("length", [5, 120])
def test_small_products_do_not_change_attention(length):
    """Training takes them, all else does not: the two agree where there is no dropout."""
    layer = MultiHeadAttention(16, 2)
    layer.build((None, None, 16))
    generator = np.random.default_rng(3)
    x = tf.constant(generator.normal(size=(3, length, 16)), tf.float32)
    upstream = tf.constant(generator.normal(size=x.shape), tf.float32)
    found = []
    for training in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, x, x, training=training)[0]
        found.append([y, *tape.gradient(y, [x, *(weight.value for weight in layer.weights)], upstream)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
