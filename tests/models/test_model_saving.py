"""The model's arguments: refused where they are bad, and the same after a round trip and in a fresh process."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from tiny_model import EMBEDDINGS, SOURCE, TARGET, VARIANTS, build, variant

from transformer.layers.options import LayerOptions
from transformer.losses.cross_entropy import masked_loss
from transformer.models.transformer import Decoder, Encoder, Transformer


def check_layers(stack, options):
    """Check that the layers of a stack have the sizes and options below, and that there are three."""
    assert (len(stack.stack), stack.dropout.rate, stack.final_norm is None) == (3, 0.3, False)
    for layer in stack.stack:
        assert layer.options == LayerOptions(6, 3, 5, 0.3, **options)


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
def test_config_round_trip(embeddings):
    options = {"activation": "gelu", "attention_rate": 0.1, "feed_forward_rate": 0.2, "norm_first": True}
    target = 9 if embeddings == "target" else 7
    model = Transformer(3, 6, 3, 5, 7, target, 20, 21, 0.3, embeddings=embeddings, name="named", **options)
    copy = Transformer.from_config(model.get_config())
    assert copy.get_config() == model.get_config() and copy.name == "named"
    copy.build()
    assert [(len(s.stack), s.maximum_position_encoding) for s in (copy.encoder, copy.decoder)] == [(3, 20), (3, 21)]
    assert (copy.encoder.vocab_size, copy.decoder.vocab_size) == (7, target)
    check_layers(copy.decoder, options)
    encoder = keras.layers.deserialize(keras.layers.serialize(copy.encoder))
    assert type(encoder) is Encoder and encoder.get_config() == model.encoder.get_config()
    assert (encoder.vocab_size, encoder.maximum_position_encoding, encoder.name) == (7, 20, "encoder")
    check_layers(encoder, options)
    if embeddings == "shared":
        with pytest.raises(ValueError, match="decoder borrows its embedding"):
            keras.layers.serialize(copy.decoder)
    else:
        decoder = keras.layers.deserialize(keras.layers.serialize(copy.decoder))
        assert type(decoder) is Decoder and decoder.get_config() == model.decoder.get_config()
        assert (decoder.vocab_size, decoder.maximum_position_encoding, decoder.name) == (target, 21, "decoder")
        check_layers(decoder, options)


RELOAD = """
import sys
import keras
import numpy as np
from transformer import Transformer, masked_loss

for path in sys.argv[1:]:
    model, data = keras.models.load_model(path), np.load(path + ".npz")
    np.testing.assert_array_equal(model((data["source"], data["target"])), data["logits"])
    assert type(model) is Transformer and model.loss is masked_loss
    print(path)
model.fit((data["source"], data["target"]), data["target"], verbose=0)
"""


@pytest.mark.slow  # six models, saved and loaded in a process that imports TensorFlow
def test_saved_models_are_the_same_in_a_fresh_process(tmp_path):
    models = [variant(*names) for names in VARIANTS]
    models.append(build(rate=0.3, activation="gelu", attention_rate=0.1, feed_forward_rate=0.2, embeddings="target"))
    paths = []
    for i, model in enumerate(models):
        model.compile("sgd", masked_loss)
        paths.append(str(tmp_path / f"{i}.keras"))
        model.save(paths[-1])
        np.savez(paths[-1] + ".npz", source=SOURCE, target=TARGET, logits=model((SOURCE, TARGET)))
    fresh = subprocess.run(
        [sys.executable, "-c", RELOAD, *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert fresh.returncode == 0, fresh.stderr[-3000:]
    assert fresh.stdout.splitlines() == paths


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((2, 8, 3, 4, 9, 9, 5, 5), {}, "d_model must be a multiple of num_heads, got d_model=8 and num_heads=3"),
        ((0, 8, 2, 4, 9, 9, 5, 5), {}, "num_layers must be an integer of at least 1, got 0"),
        ((2, 8, 2, 4, 0, 9, 5, 5), {}, "vocab_size must be an integer of at least 1, got 0"),
        ((2, 8, 2, 4, 9, 9, 5, 0), {}, "maximum_position_encoding must be an integer of at least 1, got 0"),
        ((2, 8, 2, 4, 9, 7, 5, 5), {"embeddings": "shared"}, "to be equal, got 9 and 7"),
        ((2, 8, 2, 4, 9, 9, 5, 5), {"embeddings": "tied"}, "embeddings must be .*, got 'tied'"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Transformer(*arguments, **options)


def test_an_unknown_option_is_not_swallowed():
    with pytest.raises((TypeError, ValueError), match="norm_frist"):
        Transformer(1, 8, 2, 4, 9, 9, 5, 5, norm_frist=True)
    with pytest.raises((TypeError, ValueError), match="norm_frist"):
        Encoder(1, 8, 2, 4, 9, 5, norm_frist=True)


def test_ids_that_are_too_long_are_refused():
    long = tf.ones((1, 17), tf.int32)
    with pytest.raises(ValueError, match="encoder: ids must be at most maximum_position_encoding=16 .*, got 17"):
        variant()((long, TARGET[:1]))
    with pytest.raises(ValueError, match="decoder: ids must be at most maximum_position_encoding=16 .*, got 17"):
        variant()((SOURCE[:1], long))
