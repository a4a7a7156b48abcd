"""The encoder-decoder model: its two calls, masks, embeddings, cached decoding, precision, saving, `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import (
    DFF,
    EMBEDDINGS,
    HEADS,
    LABELS,
    LAYERS,
    SOURCE,
    TARGET,
    VARIANTS,
    VOCABULARY,
    WIDTH,
    build,
    variant,
)

from transformer.config.settings import POSITIONS
from transformer.layers.masks import create_masks, create_padding_mask
from transformer.layers.positions import positional_encoding
from transformer.losses.cross_entropy import masked_accuracy, masked_loss
from transformer.models.transformer import TokenEmbedding, Transformer


@pytest.mark.parametrize("embeddings, norm_first", VARIANTS)
def test_both_calls_agree(embeddings, norm_first):
    model = variant(embeddings, norm_first)
    logits = model((SOURCE, TARGET))
    assert logits.shape == (2, 4, VOCABULARY) and logits.dtype == tf.float32
    np.testing.assert_array_equal(model([SOURCE, TARGET], training=False), logits)
    with_masks, attention = model(SOURCE, TARGET, False, *create_masks(SOURCE, TARGET))
    np.testing.assert_array_equal(with_masks, logits)
    assert list(attention) == [f"decoder_layer{i}_block{j}" for i in (1, 2) for j in (1, 2)]
    for name, weights in attention.items():
        assert weights.shape == (2, HEADS, 4, 4 if name.endswith("1") else 5)
        np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), np.ones((2, HEADS, 4)), atol=1e-6)


def test_masks_left_out_are_built_and_given_ones_are_used():
    model = variant()
    expected, _ = model(SOURCE, TARGET, False, *create_masks(SOURCE, TARGET))
    np.testing.assert_array_equal(model(SOURCE, TARGET, False, None, None, None)[0], expected)
    for i in range(3):
        masks = [tf.ones_like(mask) if i == j else None for j, mask in enumerate(create_masks(SOURCE, TARGET))]
        assert np.abs(model(SOURCE, TARGET, False, *masks)[0] - expected).max() > 1e-4


def test_a_mask_that_is_not_boolean_is_named():
    for i, name in enumerate(("enc_padding_mask", "look_ahead_mask", "dec_padding_mask")):
        masks = [tf.cast(mask, tf.float32) if i == j else mask for j, mask in enumerate(create_masks(SOURCE, TARGET))]
        with pytest.raises(ValueError, match=f"{name} must be a boolean tensor"):
            variant()(SOURCE, TARGET, False, *masks)


def test_one_input_must_be_a_pair():
    with pytest.raises(ValueError, match="inp must be the pair"):
        variant()(SOURCE)


@pytest.mark.parametrize("norm_first, positions", [(True, "sinusoidal"), *((False, kind) for kind in POSITIONS)])
def test_a_future_token_changes_no_earlier_output(norm_first, positions):
    model = variant(norm_first=norm_first, positions=positions)
    before = model((SOURCE, TARGET)).numpy()
    for t in range(1, 4):
        changed = TARGET.numpy()
        changed[:, t] = 7
        after = model((SOURCE, tf.constant(changed))).numpy()
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert np.abs(after - before)[0, t:].max(axis=1).min() > 1e-4


@pytest.mark.parametrize("norm_first, positions", [(True, "sinusoidal"), *((False, kind) for kind in POSITIONS)])
def test_padding_and_neighbours_change_nothing(norm_first, positions):
    model = variant(norm_first=norm_first, positions=positions)
    padded_source, padded_target = tf.pad(SOURCE, [[0, 0], [0, 4]]), tf.pad(TARGET, [[0, 0], [0, 3]])
    encoded = model.encoder(SOURCE, False, create_padding_mask(SOURCE))
    longer = model.encoder(padded_source, False, create_padding_mask(padded_source))
    logits, padded = model((SOURCE, TARGET)), model((padded_source, padded_target))
    for b, (source_length, target_length) in enumerate([(5, 4), (3, 2)]):
        np.testing.assert_allclose(longer[b, :source_length], encoded[b, :source_length], atol=2e-6)
        np.testing.assert_allclose(padded[b, :target_length], logits[b, :target_length], atol=5e-6)
        alone = model((SOURCE[b : b + 1, :source_length], TARGET[b : b + 1, :target_length]))
        np.testing.assert_allclose(alone[0], logits[b, :target_length], atol=5e-6)


@pytest.mark.parametrize("embeddings, norm_first", VARIANTS)
def test_every_weight_gets_a_gradient(embeddings, norm_first):
    model = variant(embeddings, norm_first)
    with tf.GradientTape() as tape:
        loss = masked_loss(LABELS, model((SOURCE, TARGET), training=False))
    paths = [weight.path for weight in model.trainable_variables]
    assert len(set(paths)) == len(paths)
    for path, gradient in zip(paths, tape.gradient(loss, model.trainable_variables), strict=True):
        assert gradient is not None, path
        largest = np.abs(tf.convert_to_tensor(gradient)).max()
        if path.endswith("wk/bias"):  # it adds the same to all scores of a query, which softmax does not see
            assert largest < 1e-6, path
        else:
            assert largest > 1e-5, path


def test_token_embedding_by_hand():
    layer = TokenEmbedding(3, 4)
    layer.build()
    layer.embeddings.assign([[1, 2, 3, 4], [0, 1, 0, -1], [5, 5, 5, 5]])
    np.testing.assert_array_equal(layer(tf.constant([[1, 0]])), [[[0, 2, 0, -2], [2, 4, 6, 8]]])  # times sqrt(4)
    np.testing.assert_array_equal(layer.project(tf.constant([[[1.0, 0, 0, 1]]])), [[[5, -1, 10]]])
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (copy.vocab_size, copy.d_model) == (3, 4)


def test_embeddings_start_so_that_scaled_they_have_unit_variance():
    layer = TokenEmbedding(2000, 64)
    layer.build()
    assert np.std(layer(tf.range(2000)[tf.newaxis])) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
def test_tied_weights_are_one_variable(embeddings):
    model = variant(embeddings)
    tables = [w for w in model.trainable_variables if w.path.endswith("embeddings")]
    assert len(tables) == {"separate": 2, "target": 2, "shared": 1}[embeddings]
    assert (model.encoder.embedding is model.decoder.embedding) == (embeddings == "shared")
    assert (model.final_layer is None) == (embeddings != "separate")
    attention, norm = 4 * (WIDTH * WIDTH + WIDTH), 2 * WIDTH
    feed_forward = 2 * WIDTH * DFF + DFF + WIDTH
    layers = LAYERS * ((attention + feed_forward + 2 * norm) + (2 * attention + feed_forward + 3 * norm))
    output = VOCABULARY * WIDTH + VOCABULARY if embeddings == "separate" else 0
    assert sum(w.numpy().size for w in model.trainable_variables) == layers + len(tables) * VOCABULARY * WIDTH + output


@pytest.mark.parametrize("embeddings", EMBEDDINGS)
def test_the_projection_is_its_table(embeddings):
    model, x = variant(embeddings), tf.random.stateless_normal((2, 3, WIDTH), (1, 2))
    table, bias = model.output_table()
    if embeddings != "separate":
        assert bias is None
        np.testing.assert_array_equal(table, model.decoder.embedding.embeddings)
    expected = np.einsum("btd,vd->btv", x, table) + (0.0 if bias is None else bias.numpy())
    np.testing.assert_allclose(model.project(x), expected, atol=1e-5)
    outputs, _ = model.decode(SOURCE, TARGET)
    np.testing.assert_array_equal(model.project(outputs), model((SOURCE, TARGET)))


def test_positions_are_added_to_the_scaled_embeddings():
    encoder = variant().encoder
    expected = encoder.embedding.embeddings.numpy()[SOURCE] * WIDTH**0.5 + positional_encoding(16, WIDTH).numpy()[:, :5]
    np.testing.assert_allclose(encoder.embed(SOURCE), expected, atol=1e-6)


@pytest.mark.parametrize("positions", ["rotary", "relative_bias", "relative_keys"])
def test_relative_positions_tell_distances_and_no_places(positions):
    model, places = variant(positions=positions), variant()
    mask, moved = create_padding_mask(SOURCE), tf.pad(SOURCE, [[0, 0], [3, 0]])  # three hidden tokens in front
    encoded, later = (m.encoder(moved, False, create_padding_mask(moved))[:, 3:] for m in (model, places))
    np.testing.assert_allclose(encoded, model.encoder(SOURCE, False, mask), atol=5e-6)
    assert np.abs(later - places.encoder(SOURCE, False, mask)).max() > 0.01
    swapped = tf.gather(SOURCE, [0, 2, 1, 3, 4], axis=1)
    back = tf.gather(model.encoder(swapped, False, None), [0, 2, 1, 3, 4], axis=1)
    assert np.abs(back - model.encoder(SOURCE, False, None)).max() > 0.01


def test_pre_norm_stacks_end_in_a_norm():
    model = build(norm_first=True)
    for stack in (model.encoder, model.decoder):
        stack.final_norm.gamma.assign(tf.ones(WIDTH))
        stack.final_norm.beta.assign(tf.zeros(WIDTH))
    encoded = model.encoder(SOURCE, False, None)
    for output in (encoded, model.decoder(TARGET, encoded, False, None, None)[0]):
        np.testing.assert_allclose(tf.reduce_mean(output, axis=-1), np.zeros(output.shape[:2]), atol=1e-6)
        np.testing.assert_allclose(np.var(output, axis=-1), np.ones(output.shape[:2]), atol=1e-4)
    assert variant().encoder.final_norm is None


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(
    "options",
    [("separate", False), ("shared", True), *(("shared", False, kind) for kind in POSITIONS[1:])],
    ids=lambda options: options[-1],
)
def test_cached_decoding_equals_the_whole_call(width, options):
    model, length = variant(*options), 5
    prefixes = np.random.default_rng(width).integers(3, VOCABULARY, (2, width, length)).astype(np.int32)
    mask = create_padding_mask(SOURCE)
    encoded = model.encoder(SOURCE, False, mask)
    expected = [model.decode(SOURCE, tf.constant(prefixes[:, w])) for w in range(width)]

    @tf.function
    def step(ids, cache, position):
        return model.decoder.step(ids, cache, position, memory, mask)

    memory, cache = model.decoder.start(encoded, width, length + 2)
    assert {part.shape for layer in memory for part in (layer.keys, layer.values)} == {(2, HEADS, 5, WIDTH // HEADS)}
    assert {part.shape for layer in cache for part in layer} == {(2, HEADS, (length + 2) * width, WIDTH // HEADS)}
    for position in range(length):
        output, cache, weights = step(tf.constant(prefixes[:, :, position]), cache, tf.constant(position))
        assert output.shape == (2, width, WIDTH) and weights.shape == (2, HEADS, width, 5)
        for w, (outputs, attention) in enumerate(expected):
            np.testing.assert_allclose(output[:, w], outputs[:, position], atol=1e-5)
            last = attention[f"decoder_layer{LAYERS}_block2"]
            np.testing.assert_allclose(weights[:, :, w], last[:, :, position], atol=1e-5)


@pytest.mark.parametrize("dtype, tolerance", [("mixed_bfloat16", 0.15), ("mixed_float16", 0.02)])
@pytest.mark.parametrize("embeddings", ["separate", "shared"])
def test_mixed_precision(dtype, tolerance, embeddings):
    model, exact = build(embeddings=embeddings, dtype=dtype), variant(embeddings)
    assert {w.dtype for w in model.trainable_variables} == {"float32"}
    assert model.decoder.stack[0].ffn.compute_dtype == dtype.removeprefix("mixed_")
    with tf.GradientTape() as tape:
        outputs, attention = model.decode(SOURCE, TARGET)
        logits = model.project(outputs)
        loss = masked_loss(LABELS, logits)
    assert outputs.dtype == attention["decoder_layer1_block1"].dtype == dtype.removeprefix("mixed_")
    assert logits.dtype == loss.dtype == tf.float32
    expected = exact((SOURCE, TARGET))
    assert np.abs(logits - expected).max() < tolerance * np.abs(expected).max()
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in tape.gradient(loss, model.trainable_variables))
    memory, cache = model.decoder.start(model.encoder(SOURCE, False, create_padding_mask(SOURCE)), 1, 4)
    output, _, _ = model.decoder.step(TARGET[:, :1], cache, 0, memory, create_padding_mask(SOURCE))
    assert np.abs(model.project(output)[:, 0] - expected[:, 0]).max() < tolerance * np.abs(expected).max()


def test_dropout_is_active_in_training_only():
    model, plain = build(rate=0.3), variant()((SOURCE, TARGET))
    np.testing.assert_array_equal(model((SOURCE, TARGET)), plain)
    np.testing.assert_array_equal(model((SOURCE, TARGET), training=False), plain)
    first, second = (model((SOURCE, TARGET), training=True) for _ in range(2))
    assert np.abs(first - plain).max() > 1e-2 and np.abs(first - second).max() > 1e-2
    embedded = model.encoder.embed(SOURCE, True).numpy()
    assert 0.1 < (embedded == 0).mean() < 0.5
    kept = embedded != 0
    np.testing.assert_allclose(embedded[kept], model.encoder.embed(SOURCE, False).numpy()[kept] / 0.7, rtol=1e-5)


def test_decode_passes_training_to_both_stacks():
    outputs, attention = build(rate=1 - 1e-7).decode(SOURCE, TARGET, training=True)
    # With everything dropped, all decoder outputs are alike, and so are all encoder outputs to the attention over them.
    assert np.ptp(outputs, axis=(0, 1)).max() < 1e-5
    np.testing.assert_allclose(attention["decoder_layer1_block2"][0], np.full((HEADS, 4, 5), 1 / 5), atol=1e-5)


def test_fit_lowers_the_loss_that_it_reports():
    model = Transformer(1, WIDTH, HEADS, DFF, VOCABULARY, VOCABULARY, 16, 16, rate=0.0)
    model.compile(keras.optimizers.Adam(0.01), masked_loss, metrics=[masked_accuracy])
    logits = model((SOURCE, TARGET))
    by_hand = masked_loss(LABELS, logits), masked_accuracy(LABELS, logits)
    np.testing.assert_allclose(model.evaluate((SOURCE, TARGET), LABELS, verbose=0), by_hand, rtol=1e-5)
    data = tf.data.Dataset.from_tensors(((SOURCE, TARGET), LABELS)).repeat(30)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0, validation_data=data.take(1)).history
    assert history["loss"][1] < history["loss"][0] and history["val_loss"][1] < 0.1 * by_hand[0]
    assert history["val_masked_accuracy"][1] == 1.0


def test_in_a_functional_model():
    inputs = [keras.Input((None,), dtype="int32", name=name) for name in ("source_ids", "target_in")]
    model = keras.Model(inputs, keras.layers.Softmax()(variant()(inputs)))
    assert model.output_shape == (None, None, VOCABULARY)
    np.testing.assert_allclose(model([SOURCE, TARGET]), tf.nn.softmax(variant()((SOURCE, TARGET))), atol=1e-6)
