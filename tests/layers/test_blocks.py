"""Encoder and decoder layers against the formulas of the paper in NumPy; what each option changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import dense, feed_forward, layer_norm, multi_head_attention, randomised, residual

from transformer.layers.activations import gelu
from transformer.layers.blocks import DecoderLayer, EncoderLayer, point_wise_feed_forward_network
from transformer.layers.masks import create_look_ahead_mask, create_masks
from transformer.layers.options import LayerOptions
from transformer.layers.positions import Rotary

D_MODEL, NUM_HEADS, DFF = 8, 2, 12
ROTARY = Rotary(5, D_MODEL, NUM_HEADS)
SOURCE = tf.constant([[4, 5, 6, 7, 8], [4, 5, 6, 0, 0]])
TARGET = tf.constant([[2, 4, 5, 6], [2, 4, 0, 0]])
MASKS = create_masks(SOURCE, TARGET)
ALMOST_ALL = 1 - 1e-7  # a dropout rate that leaves nothing of what it is applied to


def states(length, seed=0):
    return np.random.default_rng(seed).normal(size=(2, length, D_MODEL)).astype(np.float32)


def encoder_layer(**options):
    layer = EncoderLayer(D_MODEL, NUM_HEADS, DFF, **options)
    layer.build()
    return randomised(layer)


def decoder_layer(**options):
    layer = DecoderLayer(D_MODEL, NUM_HEADS, DFF, **options)
    layer.build()
    return randomised(layer)


def test_feed_forward_by_hand():
    ffn = point_wise_feed_forward_network(1, 2)
    ffn.build((None, None, 1))
    for weight, value in zip(ffn.weights, ([[1.0, -1.0]], [0.0, 1.0], [[2.0], [3.0]], [10.0]), strict=True):
        weight.assign(value)
    # relu([x, 1 - x]) @ [2, 3] + 10
    np.testing.assert_allclose(ffn(tf.constant([[[2.0], [0.5], [-1.0]]])), [[[14.0], [12.5], [16.0]]])


def test_feed_forward_has_any_width_activation_and_dropout():
    ffn = point_wise_feed_forward_network(8, 5, "gelu", 0.5)
    ffn.build((None, None, 8))
    assert [weight.shape for weight in ffn.weights if weight.trainable] == [(8, 5), (5,), (5, 8), (8,)]
    x = states(3)
    first, last = ffn.layers[0], ffn.layers[-1]
    inner = keras.activations.gelu(dense_batch(first, x))
    np.testing.assert_allclose(ffn(x), dense_batch(last, inner), atol=1e-5)
    assert np.abs(ffn(x, training=True) - ffn(x)).max() > 1e-3
    with pytest.raises(ValueError, match="dff must be an integer of at least 1, got 0"):
        point_wise_feed_forward_network(8, 0)
    with pytest.raises(ValueError, match="swosh"):
        point_wise_feed_forward_network(8, 5, "swosh")


def dense_batch(layer, x):
    return np.asarray(x) @ layer.kernel.numpy() + layer.bias.numpy()


@pytest.mark.parametrize("norm_first, positions", [(False, None), (True, None), (False, ROTARY)])
def test_encoder_layer_is_the_papers(norm_first, positions):
    layer, x = encoder_layer(norm_first=norm_first, positions=positions), states(5)
    output = layer(x, False, MASKS[0])
    for b in range(2):
        mask = np.broadcast_to(MASKS[0][b, 0], (5, 5))
        out1 = residual(
            x[b], layer.layernorm1, lambda h, mask=mask: multi_head_attention(layer.mha, h, h, h, mask), norm_first
        )
        out2 = residual(out1, layer.layernorm2, lambda h: feed_forward(layer.ffn, h), norm_first)
        np.testing.assert_allclose(output[b], out2, atol=2e-5)


@pytest.mark.parametrize("norm_first, positions", [(False, None), (True, None), (False, ROTARY)])
def test_decoder_layer_is_the_papers(norm_first, positions):
    layer, x, memory = decoder_layer(norm_first=norm_first, positions=positions), states(4), states(5, 1)
    assert (layer.mha1.positions, layer.mha2.positions) == (positions, None)
    output, weights1, weights2 = layer(x, memory, False, MASKS[1], MASKS[2])
    assert weights1.shape == (2, NUM_HEADS, 4, 4) and weights2.shape == (2, NUM_HEADS, 4, 5)
    for b in range(2):
        own, across = MASKS[1][b, 0], np.broadcast_to(MASKS[2][b, 0], (4, 5))

        def look_back(h, own=own):
            return multi_head_attention(layer.mha1, h, h, h, own)

        def look_at_source(h, memory=memory[b], across=across):
            return multi_head_attention(layer.mha2, memory, memory, h, across)

        out = residual(x[b], layer.layernorm1, look_back, norm_first)
        out = residual(out, layer.layernorm2, look_at_source, norm_first)
        out = residual(out, layer.layernorm3, lambda h: feed_forward(layer.ffn, h), norm_first)
        np.testing.assert_allclose(output[b], out, atol=3e-5)
        assert not np.any(weights1.numpy()[b][:, ~own.numpy()])
        assert not np.any(weights2.numpy()[b][:, ~across])


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_later_position_changes_no_earlier_one(norm_first):
    layer, x, memory = decoder_layer(norm_first=norm_first), states(4), states(5, 1)
    mask = create_look_ahead_mask(4)
    before = layer(x, memory, False, mask, None)[0].numpy()
    for t in range(1, 4):
        changed = x.copy()
        changed[:, t] = states(4, 2)[:, t]
        after = layer(changed, memory, False, mask, None)[0].numpy()
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (np.abs(after - before)[:, t:].max(axis=(0, 2)) > 1e-4).all()


def test_dropout_is_on_every_sub_layer_and_on_no_residual():
    x, memory = states(5), states(6, 1)
    encoder, decoder = encoder_layer(rate=ALMOST_ALL), decoder_layer(rate=ALMOST_ALL)
    expected = x
    for norm in (encoder.layernorm1, encoder.layernorm2):
        expected = np.array([layer_norm(norm, row) for row in expected])
    np.testing.assert_allclose(encoder(x, True, None), expected, atol=1e-5)
    expected = x
    for norm in (decoder.layernorm1, decoder.layernorm2, decoder.layernorm3):
        expected = np.array([layer_norm(norm, row) for row in expected])
    np.testing.assert_allclose(decoder(x, memory, True, None, None)[0], expected, atol=1e-5)
    before = encoder_layer(rate=ALMOST_ALL, norm_first=True)
    np.testing.assert_allclose(before(x, True, None), x, atol=1e-6)


def test_dropout_of_attention_and_feed_forward():
    layer, x = encoder_layer(rate=0.0, attention_rate=ALMOST_ALL, feed_forward_rate=ALMOST_ALL), states(5)
    output = layer(x, True, None)
    for b in range(2):  # without weights only W^O's bias is left, without inner activations only the outer bias
        nothing = np.zeros_like(x[b])
        out1 = layer_norm(layer.layernorm1, x[b] + dense(layer.mha.dense, nothing))
        out2 = layer_norm(layer.layernorm2, out1 + layer.ffn.layers[-1].bias.numpy())
        np.testing.assert_allclose(output[b], out2, atol=1e-5)


@pytest.mark.parametrize("rates", [{"rate": 0.5}, {"attention_rate": 0.5}, {"feed_forward_rate": 0.5}])
def test_dropout_is_active_in_training_only(rates):
    layer, x = encoder_layer(**{"rate": 0.0, **rates}), states(5)
    plain = encoder_layer(rate=0.0)(x, False, None)
    np.testing.assert_array_equal(layer(x, False, None), plain)
    np.testing.assert_array_equal(layer(x), plain)
    assert np.abs(layer(x, True, None) - plain).max() > 1e-3


@pytest.mark.parametrize("cls", [EncoderLayer, DecoderLayer])
def test_config_round_trip(cls):
    layer = cls(
        D_MODEL,
        NUM_HEADS,
        DFF,
        0.2,
        activation="gelu",
        attention_rate=0.3,
        feed_forward_rate=0.4,
        norm_first=True,
        positions=ROTARY,
        name="block",
    )
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is cls and copy.get_config() == layer.get_config()
    assert copy.options == LayerOptions(D_MODEL, NUM_HEADS, DFF, 0.2, "gelu", 0.3, 0.4, True)
    assert copy.positions.get_config() == ROTARY.get_config() and copy.name == "block"
    copy.build()
    assert copy.ffn.layers[0].activation is gelu


@pytest.mark.parametrize("cls", [EncoderLayer, DecoderLayer])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((9, 2, 4), "d_model must be a multiple of num_heads, got d_model=9 and num_heads=2"),
        ((8, 0, 4), "num_heads must be an integer of at least 1, got 0"),
        ((8, 2, 0), "dff must be an integer of at least 1, got 0"),
        ((8, 2, 4, 1.5), "rate.*1.5"),
    ],
)
def test_bad_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(*arguments)


def test_float_masks_are_refused():
    x, memory = states(4), states(5, 1)
    hidden = 1.0 - tf.cast(MASKS[1], tf.float32)
    with pytest.raises(ValueError, match="must be a boolean tensor"):
        encoder_layer()(x, False, hidden)
    with pytest.raises(ValueError, match="must be a boolean tensor"):
        decoder_layer()(x, memory, False, hidden, None)
    with pytest.raises(ValueError, match="must be a boolean tensor"):
        decoder_layer()(x, memory, False, None, tf.ones((2, 1, 1, 5)))
