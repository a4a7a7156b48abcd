"""BERT: against the formulas in NumPy, padding, segments, and the inputs of document 001."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hand_written_bert import Numbers
from reference import randomised

from transformer.config.settings import POSITIONS
from transformer.models.bert import BERT, BertEncoder

LAYERS, WIDTH, HEADS, DFF, VOCABULARY, LONGEST = 2, 16, 4, 12, 11, 24
IDS = np.array([[2, 5, 6, 3, 7, 4, 3], [2, 10, 4, 3, 0, 0, 0]], np.int32)
SEGMENTS = np.array([[0, 0, 0, 0, 1, 1, 1], [0] * 7], np.int32)
REAL = [7, 4]  # tokens of each row


def build(kind=BERT, **options):
    model = kind(LAYERS, WIDTH, HEADS, DFF, VOCABULARY, LONGEST, 0.0, **options)
    model.build()
    return randomised(model)


@pytest.fixture(scope="module")
def model():
    return build()


def under_their_names(model):
    """Return the weights of a model as transformers names and lays them out, written down here by hand."""
    encoder, found = model.encoder, {}

    def dense(name, layer):
        found[f"{name}.weight"], found[f"{name}.bias"] = layer.kernel.numpy().T, layer.bias.numpy()

    def norm(name, layer):
        found[f"{name}.LayerNorm.weight"], found[f"{name}.LayerNorm.bias"] = layer.gamma.numpy(), layer.beta.numpy()

    found["embeddings.word_embeddings.weight"] = encoder.embedding.embeddings.numpy()
    found["embeddings.position_embeddings.weight"] = encoder.positions.vectors.numpy()
    found["embeddings.token_type_embeddings.weight"] = encoder.segment_vectors.numpy()
    norm("embeddings", encoder.embedding_norm)
    for i, layer in enumerate(encoder.stack):
        name = f"encoder.layer.{i}"
        for theirs, ours in (("query", layer.mha.wq), ("key", layer.mha.wk), ("value", layer.mha.wv)):
            dense(f"{name}.attention.self.{theirs}", ours)
        dense(f"{name}.attention.output.dense", layer.mha.dense)
        norm(f"{name}.attention.output", layer.layernorm1)
        dense(f"{name}.intermediate.dense", layer.ffn.layers[0])
        dense(f"{name}.output.dense", layer.ffn.layers[1])
        norm(f"{name}.output", layer.layernorm2)
    dense("pooler.dense", encoder.pooler)
    dense("cls.predictions.transform.dense", model.masked_lm.dense)
    norm("cls.predictions.transform", model.masked_lm.norm)
    found["cls.predictions.bias"] = model.masked_lm.bias.numpy()
    dense("cls.seq_relationship", model.next_sentence)
    return found


def test_everything_is_as_the_formulas_have_it(model):
    config = {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH}
    config |= {"hidden_act": "gelu", "layer_norm_eps": 1e-6}
    states = model.encoder(tf.constant(IDS), tf.constant(SEGMENTS), False)
    pooled = model.encoder.pool(states)
    masked, following = model({"input_ids": IDS, "token_type_ids": SEGMENTS}, False)
    assert masked.shape == (2, 7, VOCABULARY) and following.shape == (2, 2) and masked.dtype == tf.float32
    for row, count in enumerate(REAL):
        expected = Numbers(config, under_their_names(model), IDS[row, :count], SEGMENTS[row, :count])
        np.testing.assert_allclose(states[row, :count], expected.states, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(pooled[row], expected.pooled, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(masked[row, :count], expected.masked, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(following[row], expected.following, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"norm_first": True}, {"norm": "rms", "gated": True}, *({"positions": kind} for kind in POSITIONS)],
)
def test_padding_changes_nothing(options):
    encoder = build(BertEncoder, **options)
    padded = np.pad(IDS, ((0, 0), (0, 5)))
    states, longer = (encoder(tf.constant(ids)) for ids in (IDS, padded))
    np.testing.assert_allclose(longer[0, :7], states[0], atol=1e-5)
    np.testing.assert_allclose(longer[1, :4], encoder(tf.constant(IDS[1:, :4]))[0], atol=1e-5)


def test_a_mask_hides_more_than_padding(model):
    """Hidden tokens have no influence on those that do not see them."""
    other = IDS.copy()
    other[0, 4:6] = 9
    shown = np.array([[1, 1, 1, 1, 0, 0, 1], [1] * 7])
    first = [model.encoder(tf.constant(ids), None, False)[0] for ids in (IDS, other)]
    assert np.abs(first[0][:4] - first[1][:4]).max() > 1e-3
    for name in ("attention_mask", "input_mask"):
        one, two = (model({"input_ids": ids, name: shown})[0].numpy() for ids in (IDS, other))
        np.testing.assert_array_equal(one[0, [0, 1, 2, 3, 6]], two[0, [0, 1, 2, 3, 6]])
        np.testing.assert_array_equal(one[1], model({"input_ids": IDS})[0][1])  # padding is hidden as ever


def test_without_segments_all_are_the_first(model):
    zeros = tf.zeros_like(IDS)
    np.testing.assert_array_equal(model.encoder(tf.constant(IDS)), model.encoder(tf.constant(IDS), zeros))
    assert np.abs(model.encoder(tf.constant(IDS)) - model.encoder(tf.constant(IDS), zeros + 1)).max() > 1e-3


def test_logits_at_masked_places_are_those_of_all_places(model):
    places = np.array([[1, 4, 6], [0, 2, 3]])
    every, _ = model({"input_ids": IDS, "segment_ids": SEGMENTS})
    some, _ = model({"input_ids": IDS, "segment_ids": SEGMENTS, "masked_lm_positions": places})
    np.testing.assert_allclose(some, np.take_along_axis(every.numpy(), places[..., np.newaxis], axis=1), atol=1e-5)


def test_heads_and_pooler_can_be_left_out():
    lone = build(pooler=False, next_sentence=False)
    masked, following = lone({"input_ids": IDS})
    assert masked.shape == (2, 7, VOCABULARY) and following.shape == (2, 0)
    assert lone.predict({"input_ids": IDS}, verbose=0)[1].shape == (2, 0)
    assert not [v.path for v in lone.trainable_variables if "pooler" in v.path or "next_sentence" in v.path]
    with pytest.raises(ValueError, match="encoder has no pooler; build it with pooler=True"):
        lone.encoder.pool(tf.zeros((1, 2, WIDTH)))


def test_the_output_is_tied_to_the_embedding(model):
    names = [v.path for v in model.trainable_variables]
    assert sum(tuple(v.shape) == (VOCABULARY, WIDTH) for v in model.trainable_variables) == 1
    assert "bert/encoder/layer1/mha/wq/kernel" in {name.replace(model.name, "bert", 1) for name in names}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model({"input_ids": IDS})[0][:, :, 1])  # of an id that is not in the input
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.encoder.embedding.embeddings))
    assert np.abs(gradient[1]).max() > 1e-3 and np.abs(gradient[8]).max() == 0


@pytest.mark.parametrize(
    ("inputs", "rule"),
    [
        ({"ids": IDS}, "must be among input_ids, .*; got ids"),
        ({"token_type_ids": SEGMENTS}, "must have input_ids"),
        ({"input_ids": IDS, "token_type_ids": SEGMENTS, "segment_ids": SEGMENTS}, "only one of token_type_ids and seg"),
        (
            {"input_ids": np.ones((1, LONGEST + 1), np.int32)},
            "at most maximum_position_encoding=24 tokens long, got 25",
        ),
    ],
)
def test_wrong_inputs_are_named(model, inputs, rule):
    with pytest.raises(ValueError, match=rule):
        model(inputs)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"pooler": False}, "next_sentence=True needs pooler=True"),
        ({"num_segments": 0}, "num_segments must be an integer of at least 1"),
        ({"positions": "none"}, "positions must be"),
        ({"norm": "batch"}, "norm must be 'layer' or 'rms'"),
    ],
)
def test_wrong_arguments_are_named(options, rule):
    with pytest.raises(ValueError, match=rule):
        build(**options)


def test_a_mask_of_numbers_is_refused(model):
    with pytest.raises(ValueError, match="mask must be a boolean tensor"):
        model.encoder(tf.constant(IDS), None, False, tf.zeros((2, 1, 1, 7)))


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "bert.keras")
    copy = keras.models.load_model(tmp_path / "bert.keras")
    for one, other in zip(copy({"input_ids": IDS}), model({"input_ids": IDS}), strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision_gives_logits_in_float32():
    model = build(dtype="mixed_bfloat16")
    masked, following = model({"input_ids": IDS})
    assert masked.dtype == following.dtype == tf.float32
    assert model.encoder(tf.constant(IDS)).dtype == tf.bfloat16
