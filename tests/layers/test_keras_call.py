"""The documents' positional calls under Keras 3: eagerly, in a graph, in a functional model, after a reload."""

import inspect
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from transformer.layers.attention import MultiHeadAttention
from transformer.layers.blocks import DecoderLayer, EncoderLayer
from transformer.layers.keras_call import PositionalCallMixin
from transformer.layers.masks import create_masks
from transformer.models.transformer import Decoder, Encoder, Transformer

INP, TAR = np.array([[4, 5, 6, 0], [4, 5, 0, 0]], np.int32), np.array([[2, 4, 5], [2, 4, 0]], np.int32)
X, Y = (np.random.default_rng(seed).normal(size=(2, n, 8)).astype(np.float32) for seed, n in ((1, 4), (2, 3)))
ENC, LOOK, DEC = (mask.numpy() for mask in create_masks(INP, TAR))

# Each call in the documents' order: a layer, its arguments in order, and the names of those Keras takes as keywords.
CALLS = {
    "mha": (lambda: MultiHeadAttention(8, 2), (X, X, Y, DEC), ("mask",)),
    "encoder_layer": (lambda: EncoderLayer(8, 2, 12), (X, False, ENC), ("training", "mask")),
    "decoder_layer": (
        lambda: DecoderLayer(8, 2, 12),
        (Y, X, False, LOOK, DEC),
        ("training", "look_ahead_mask", "padding_mask"),
    ),
    "encoder": (lambda: Encoder(1, 8, 2, 12, 9, 6), (INP, False, ENC), ("training", "mask")),
    "decoder": (
        lambda: Decoder(1, 8, 2, 12, 9, 6),
        (TAR, X, False, LOOK, DEC),
        ("training", "look_ahead_mask", "padding_mask"),
    ),
    "transformer": (
        lambda: Transformer(1, 8, 2, 12, 9, 10, 6, 6),
        (INP, TAR, False, ENC, LOOK, DEC),
        ("training", "enc_padding_mask", "look_ahead_mask", "dec_padding_mask"),
    ),
}

RELOAD = """
import sys
import warnings

import keras
import numpy as np

warnings.filterwarnings("error", message=".*mask.*")
from transformer import Transformer

folder = sys.argv[1]
for name in sys.argv[2:]:
    data = np.load(f"{folder}/{name}.npz")
    model = keras.models.load_model(f"{folder}/{name}.keras")
    inputs = [data[f"in{i}"] for i in range(len(model.inputs))]
    for i, output in enumerate(keras.tree.flatten(model(inputs))):
        np.testing.assert_allclose(output, data[f"out{i}"], rtol=0, atol=1e-6)
    print(name, i + 1)
"""


@pytest.fixture(scope="module")
def layers():
    """Return every layer, called once with keywords, and what that call returned."""
    built = {}
    for name, (make, arguments, keywords) in CALLS.items():
        layer = make()
        first = len(arguments) - len(keywords)
        built[name] = layer, layer(*arguments[:first], **dict(zip(keywords, arguments[first:], strict=True)))
    return built


@pytest.fixture(autouse=True)
def no_mask_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*mask.*")
        yield


def compare(outputs, expected):
    keras.tree.map_structure(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), outputs, expected)


@pytest.mark.parametrize("name", CALLS)
def test_eagerly(layers, name):
    layer, expected = layers[name]
    compare(layer(*CALLS[name][1]), expected)


@pytest.mark.parametrize("name", CALLS)
def test_masks_are_used_wherever_they_stand(layers, name):
    layer, expected = layers[name]
    arguments = [np.ones_like(a) if isinstance(a, np.ndarray) and a.dtype == bool else a for a in CALLS[name][1]]
    assert np.abs(keras.tree.flatten(layer(*arguments))[0] - keras.tree.flatten(expected)[0]).max() > 1e-4


@pytest.mark.parametrize("name", CALLS)
def test_in_a_graph(layers, name):
    layer, expected = layers[name]
    arguments = CALLS[name][1]
    arrays = [a for a in arguments if not isinstance(a, bool)]
    signature = [
        tf.TensorSpec([None] * 2 + list(a.shape[2:]) if a.ndim == 3 else [None] * a.ndim, a.dtype) for a in arrays
    ]

    @tf.function(input_signature=signature)
    def graph(*tensors):
        tensors = iter(tensors)
        return layer(*[a if isinstance(a, bool) else next(tensors) for a in arguments])

    compare(graph(*arrays), expected)


def functional(layer, arguments):
    arrays = [a for a in arguments if not isinstance(a, bool)]
    inputs = [
        keras.Input([None] * (a.ndim - 2) + [a.shape[-1]] if a.ndim == 3 else [None] * (a.ndim - 1), dtype=a.dtype.name)
        for a in arrays
    ]
    symbols = iter(inputs)
    outputs = layer(*[a if isinstance(a, bool) else next(symbols) for a in arguments])
    return keras.Model(inputs, outputs), arrays


@pytest.mark.slow  # a process that imports TensorFlow
def test_in_a_functional_model_and_after_a_reload_in_a_fresh_process(layers, tmp_path):
    expected_lines = []
    for name, (layer, expected) in layers.items():
        model, arrays = functional(layer, CALLS[name][1])
        outputs = model(arrays)
        compare(outputs, expected)
        flat = keras.tree.flatten(outputs)
        expected_lines.append(f"{name} {len(flat)}")
        model.save(tmp_path / f"{name}.keras")
        np.savez(
            tmp_path / f"{name}.npz",
            **{f"in{i}": array for i, array in enumerate(arrays)},
            **{f"out{i}": output for i, output in enumerate(flat)},
        )
    fresh = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path), *layers], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    assert fresh.stdout.splitlines() == expected_lines


def test_training_reaches_dropout_from_every_position():
    layer = EncoderLayer(8, 2, 12, rate=0.5)
    plain = layer(X, False, None)
    assert np.abs(layer(X, True, None) - plain).max() > 1e-2
    assert np.abs(layer(X, training=True) - plain).max() > 1e-2
    assert np.abs(tf.function(lambda x: layer(x, True, None))(X) - plain).max() > 1e-2
    inputs = keras.Input((None, 8))
    follows = keras.Model(inputs, layer(inputs, None, None))  # None: as the model is called
    np.testing.assert_allclose(follows(X, training=False), plain, atol=1e-6)
    assert np.abs(follows(X, training=True) - plain).max() > 1e-2


def test_too_many_arguments():
    with pytest.raises(TypeError, match=r"Encoder takes at most 3 arguments \(x, training, mask\), got 4"):
        Encoder(1, 8, 2, 12, 9, 9)(X, False, None, None)


def test_an_argument_given_twice():
    with pytest.raises(TypeError, match="EncoderLayer got multiple values for argument 'mask'"):
        EncoderLayer(8, 2, 12)(X, False, None, mask=None)


def test_any_layer_of_ones_own():
    class Scale(PositionalCallMixin, keras.layers.Layer):
        def call(self, x, factor, training=None, padding_mask=None):
            return x * factor if training else x

    x = tf.ones((1, 2))
    np.testing.assert_array_equal(Scale()(x, tf.constant(3.0), True), [[3.0, 3.0]])
    np.testing.assert_array_equal(Scale()(x, factor=tf.constant(3.0), training=True), [[3.0, 3.0]])
    np.testing.assert_array_equal(Scale()(x, tf.constant(3.0)), [[1.0, 1.0]])


@pytest.mark.parametrize("name", CALLS)
def test_no_implicit_mask_leaves_a_layer(layers, name):
    layer, _ = layers[name]
    assert all(getattr(output, "_keras_mask", None) is None for output in keras.tree.flatten(layer(*CALLS[name][1])))
    assert layer.compute_mask(None, ENC) is None


def test_an_implicit_mask_is_refused_unless_a_mask_is_given(layers):
    embedded = keras.layers.Embedding(9, 8, mask_zero=True)(INP)
    encoder, decoder = layers["encoder_layer"][0], layers["decoder_layer"][0]
    message = "carries Keras' implicit mask, which is not used here; pass a boolean mask"
    with pytest.raises(ValueError, match=f"x of EncoderLayer {message}"):
        encoder(embedded, False)
    with pytest.raises(ValueError, match=f"enc_output of DecoderLayer {message}"):
        decoder(Y, embedded, False, None, None)
    with pytest.raises(ValueError, match=f"x of EncoderLayer {message}"):
        encoder(keras.layers.Embedding(9, 8, mask_zero=True)(keras.Input((None,), dtype="int32")))
    output = encoder(embedded, False, ENC)
    np.testing.assert_array_equal(output, encoder(tf.constant(embedded.numpy()), False, ENC))
    assert getattr(output, "_keras_mask", None) is None


def test_call_orders_are_the_documents():
    orders = {name: list(inspect.signature(make().call).parameters) for name, (make, _, _) in CALLS.items()}
    assert orders["mha"][:4] == ["v", "k", "q", "mask"]
    assert orders["encoder"] == ["x", "training", "mask"]
    assert orders["encoder_layer"] == [*orders["encoder"], "cache"]
    assert orders["decoder_layer"] == [*orders["decoder"], "cache"]
    assert orders["decoder"] == ["x", "enc_output", "training", "look_ahead_mask", "padding_mask"]
    assert orders["transformer"][2:] == ["training", "enc_padding_mask", "look_ahead_mask", "dec_padding_mask"]
