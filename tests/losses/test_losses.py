"""Losses and accuracy: by hand, against a plain loop, and with their gradients worked out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.losses import linear_cross_entropy as module
from transformer.losses.cross_entropy import masked_accuracy, masked_loss, token_losses
from transformer.losses.linear_cross_entropy import linear_cross_entropy

VOCABULARY, WIDTH = 7, 5


def loop(labels, logits, smoothing=0.0):
    """Return each token's cross-entropy with the smoothed target distribution, and its gradient to the logits."""
    values, gradients = [], np.zeros(logits.shape)
    for n, label in enumerate(labels):
        target = np.full(logits.shape[1], smoothing / logits.shape[1])
        target[label] += 1 - smoothing
        probabilities = np.exp(logits[n]) / np.exp(logits[n]).sum()
        values.append(-sum(target[v] * np.log(probabilities[v]) for v in range(logits.shape[1])))
        gradients[n] = probabilities - target
    return np.array(values), gradients


def arrays(count, seed=0):
    generator = np.random.default_rng(seed)
    hidden, table = generator.normal(size=(count, WIDTH)), generator.normal(size=(VOCABULARY, WIDTH))
    return hidden, table, generator.normal(size=VOCABULARY), generator.integers(0, VOCABULARY, count)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_token_losses_against_a_loop(smoothing):
    hidden, table, bias, labels = arrays(12)
    logits = hidden @ table.T + bias
    expected = loop(labels, logits, smoothing)[0]
    result = token_losses(tf.constant(labels), tf.constant(logits, tf.float32), smoothing)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    cube = token_losses(labels.reshape(2, 2, 3), logits.reshape(2, 2, 3, VOCABULARY), smoothing)
    np.testing.assert_allclose(cube, expected.reshape(2, 2, 3), rtol=1e-5)


def test_token_losses_by_hand():
    # p = 1/2, 1/4, 1/4. With e = 0.3 the target gives the label 0.7 + 0.1 and the others 0.1 each.
    logits = tf.math.log([[2.0, 1.0, 1.0]])
    assert token_losses(tf.constant([0]), logits).numpy() == pytest.approx([np.log(2)])
    smoothed = 0.8 * np.log(2) + 0.1 * np.log(4) + 0.1 * np.log(4)
    assert token_losses(tf.constant([0]), logits, 0.3).numpy() == pytest.approx([smoothed])


def test_low_precision_logits_are_scored_in_float32():
    logits = tf.constant([[10.0, 4.0, -3.0]])
    result = token_losses(tf.constant([1]), tf.cast(logits, tf.bfloat16), 0.1)
    assert result.dtype == tf.float32
    np.testing.assert_allclose(result, token_losses(tf.constant([1]), logits, 0.1), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range(smoothing):
    message = f"label_smoothing must be at least 0 and below 1, got {smoothing}"
    with pytest.raises(ValueError, match=message):
        token_losses(tf.constant([0]), tf.zeros((1, 3)), smoothing)
    with pytest.raises(ValueError, match=message):
        linear_cross_entropy(tf.zeros((1, 2)), tf.zeros((3, 2)), None, tf.constant([0]), smoothing)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear_cross_entropy_and_its_gradients(monkeypatch, graph, smoothing, with_bias):
    monkeypatch.setattr(module, "CHUNK", 4)

    def value_and_gradients(hidden, table, bias, labels):
        watched = [hidden, table, *([bias] if with_bias else [])]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            loss = linear_cross_entropy(hidden, table, bias if with_bias else None, labels, smoothing)
            scaled = 0.5 * loss
        return loss, tape.gradient(scaled, watched)

    if graph:
        shapes = [(None, WIDTH), (VOCABULARY, WIDTH), (VOCABULARY,)]
        signature = [tf.TensorSpec(shape) for shape in shapes] + [tf.TensorSpec((None,), tf.int32)]
        value_and_gradients = tf.function(value_and_gradients, input_signature=signature)
    for count in (0, 1, 3, 4, 5, 8, 11):
        hidden, table, bias, labels = arrays(count, count)
        values, d_logits = loop(labels, hidden @ table.T + (bias if with_bias else 0.0), smoothing)
        tensors = [tf.constant(array, tf.float32) for array in (hidden, table, bias)]
        loss, gradients = value_and_gradients(*tensors, tf.constant(labels, tf.int32))
        assert loss.numpy() == pytest.approx(values.sum(), rel=1e-5)
        expected = [d_logits @ table, d_logits.T @ hidden, d_logits.sum(axis=0)]
        for gradient, reference in zip(gradients, expected, strict=False):
            np.testing.assert_allclose(tf.convert_to_tensor(gradient), 0.5 * reference, atol=1e-5)


HALF = module.CHUNK // 2  # from one and a half chunks on there are two


@pytest.mark.parametrize("beyond", [-1, 0, 1, HALF - 1, HALF, HALF + 1])
def test_linear_cross_entropy_at_the_edge_of_the_real_chunk(beyond):
    hidden, table, bias, labels = arrays(module.CHUNK + beyond)
    expected = loop(labels, hidden @ table.T + bias, 0.1)[0].sum()
    tensors = [tf.constant(array, tf.float32) for array in (hidden, table, bias)]
    assert linear_cross_entropy(*tensors, tf.constant(labels, tf.int32), 0.1).numpy() == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("count, size", [(0, 1), (1, 1), (383, 383), (384, 192), (525, 263), (1000, 250)])
def test_chunks_are_about_equal(count, size):
    rows, found = module._rows_and_chunk_size(tf.zeros((count, WIDTH)))
    assert (int(rows), int(found)) == (max(count, 1), size)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_linear_cross_entropy_of_low_precision_states(dtype):
    hidden, table, bias, labels = arrays(400)
    hidden = tf.cast(hidden, dtype)
    table, bias = tf.constant(table, tf.float32), tf.constant(bias, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([hidden, table, bias])
        loss = linear_cross_entropy(hidden, table, bias, tf.constant(labels, tf.int32), 0.1)
    gradients = tape.gradient(loss, [hidden, table, bias])
    assert loss.dtype == tf.float32
    assert [gradient.dtype for gradient in gradients] == [dtype, tf.float32, tf.float32]
    states = tf.cast(hidden, tf.float64).numpy()
    values, d_logits = loop(labels, states @ table.numpy().T + bias.numpy(), 0.1)
    assert loss.numpy() == pytest.approx(values.sum(), rel=5e-3)
    for gradient, reference in zip(
        gradients, (d_logits @ table.numpy(), d_logits.T @ states, d_logits.sum(axis=0)), strict=True
    ):
        assert np.abs(tf.cast(gradient, tf.float64) - reference).max() < 0.02 * np.abs(reference).max()


def test_masked_loss_by_hand():
    # Probabilities of the labels: 1/2 and 1/4; the third position is padding, and so is all of the second row.
    logits = tf.math.log([[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0], [9.0, 1.0, 1.0]]] * 2)
    labels = tf.constant([[1, 2, 0], [0, 0, 0]])
    assert masked_loss(labels, logits).numpy() == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert masked_loss(tf.cast(labels, tf.float32), logits).numpy() == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_masked_accuracy_by_hand():
    logits = tf.constant([[[0.0, 2.0, 1.0], [0.0, 2.0, 1.0], [9.0, 1.0, 1.0], [0.0, 0.0, 3.0]]])
    assert masked_accuracy(tf.constant([[1, 2, 0, 2]]), logits).numpy() == pytest.approx(2 / 3)
    assert masked_accuracy(tf.constant([[1.0, 2.0, 0.0, 2.0]]), logits).numpy() == pytest.approx(2 / 3)


@pytest.mark.parametrize("function", [masked_loss, masked_accuracy])
def test_a_batch_of_padding_counts_nothing(function):
    assert function(tf.zeros((2, 3), tf.int32), tf.random.normal((2, 3, 4))).numpy() == 0.0


def test_padding_gets_no_gradient():
    logits = tf.Variable(tf.random.stateless_normal((1, 3, 4), (1, 2)))
    with tf.GradientTape() as tape:
        loss = masked_loss(tf.constant([[2, 0, 3]]), logits)
    gradient = tape.gradient(loss, logits).numpy()[0]
    assert not np.any(gradient[1]) and np.abs(gradient[[0, 2]]).min() > 0


@pytest.mark.parametrize("function", [masked_loss, masked_accuracy])
def test_they_serialise_by_name(function):
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(function)) is function
