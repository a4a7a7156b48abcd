"""GPT: against formulas in NumPy, and the cached step against the whole call."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import randomised, softmax

from transformer.ids import END_ID, PAD_ID
from transformer.layers.attention import MultiHeadAttention
from transformer.layers.blocks import norm_of
from transformer.layers.options import LayerOptions
from transformer.layers.positions import Learned, Rotary
from transformer.models.gpt import GPT
from transformer.search.beam import Beam
from transformer.search.loop import decode

LAYERS, WIDTH, HEADS, DFF, VOCABULARY, LONGEST = 2, 16, 4, 12, 11, 24
GPT2 = {"norm_first": True, "activation": "gelu_tanh", "norm_epsilon": 1e-5, "scale_embeddings": False}
LLAMA = {
    "norm_first": True,
    "norm": "rms",
    "norm_epsilon": 1e-5,
    "activation": "silu",
    "gated": True,
    "use_bias": False,
    "num_kv_heads": 2,
    "positions": "rotary",
    "rotary_base": 500.0,
    "scale_embeddings": False,
    "embeddings": "separate",
}
KINDS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "paper": {"positions": "sinusoidal"},
    "biases": {"positions": "relative_bias", "num_kv_heads": 2, "relative_buckets": 4, "relative_distance": 5},
    "keys": {"positions": "relative_keys", "num_kv_heads": 2, "relative_distance": 3},
}
IDS = np.array([[2, 5, 6, 7, 4, 8, 9, 3], [2, 10, 4, 4, 5, 3, 0, 0]], np.int32)


def build(kind, **options):
    model = GPT(LAYERS, WIDTH, HEADS, DFF, VOCABULARY, LONGEST, **{"rate": 0.0, **KINDS[kind], **options})
    model.build()
    return randomised(model)


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return build(request.param)


def heads_of(x, count):
    return np.split(x, count, axis=1)


def turned_by(x, base):
    """Turn rows p of x (T, K): pairs of columns i and i + K / 2 by p / base^(2i / K)."""
    half = x.shape[1] // 2
    for p, i in itertools.product(range(len(x)), range(half)):
        angle = p / base ** (2 * i / x.shape[1])
        one, other = x[p, i], x[p, i + half]
        x[p, i] = one * math.cos(angle) - other * math.sin(angle)
        x[p, i + half] = one * math.sin(angle) + other * math.cos(angle)
    return x


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def projected(layer, x):
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)


def normed(norm, x, kind):
    if kind == "llama":
        return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * norm.scale.numpy()
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * norm.gamma.numpy() + norm.beta.numpy()


def by_hand(model, ids, kind):
    """Return the logits of one text in NumPy, as GPT-2 and Llama compute them."""
    x = model.embedding.embeddings.numpy()[ids].astype(np.float64)
    if kind == "gpt2":
        x = x + model.positions.vectors.numpy()[: len(ids)]
    for layer in model.stack:
        mha, entered = layer.mha, normed(layer.layernorm1, x, kind)
        kv = 2 if kind == "llama" else HEADS
        queries = heads_of(projected(mha.wq, entered), HEADS)
        keys, values = (heads_of(projected(part, entered), kv) for part in (mha.wk, mha.wv))
        if kind == "llama":
            queries, keys = ([turned_by(part, 500.0) for part in parts] for parts in (queries, keys))
        heads = []
        for h in range(HEADS):
            k, v = keys[h * kv // HEADS], values[h * kv // HEADS]
            rows = [
                softmax(queries[h][t] @ k[: t + 1].T / math.sqrt(WIDTH // HEADS)) @ v[: t + 1] for t in range(len(x))
            ]
            heads.append(np.array(rows))
        x = x + projected(mha.dense, np.concatenate(heads, axis=1))
        entered = normed(layer.layernorm2, x, kind)
        inner, outer = layer.ffn.layers
        if kind == "llama":
            gate = projected(inner.gate, entered)
            x = x + projected(outer, gate / (1 + np.exp(-gate)) * projected(inner.up, entered))
        else:
            x = x + projected(outer, gelu(projected(inner, entered)))
    x = normed(model.final_norm, x, kind)
    return x @ (model.final_layer.kernel.numpy() if kind == "llama" else model.embedding.embeddings.numpy().T)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_logits_are_those_of_the_formulas(kind):
    model = build(kind)
    biases = [v for v in model.trainable_variables if v.name in ("bias", "beta")]
    assert len(biases) == (0 if kind == "llama" else LAYERS * 8 + 1)
    logits = model(tf.constant(IDS), False)
    assert logits.shape == (2, 8, VOCABULARY) and logits.dtype == tf.float32
    for row, ids in enumerate(IDS):
        np.testing.assert_allclose(logits[row], by_hand(model, ids, kind), rtol=1e-4, atol=1e-4)


def test_what_comes_later_has_no_effect(model):
    whole = model(tf.constant(IDS))
    for length in (1, 5):
        np.testing.assert_allclose(model(tf.constant(IDS[:, :length])), whole[:, :length], atol=1e-5)
    changed = IDS.copy()
    changed[:, 5:] = 6
    np.testing.assert_array_equal(model(tf.constant(changed))[:, :5], whole[:, :5])


def test_padding_behind_a_text_has_no_effect(model):
    padded = np.pad(IDS, ((0, 0), (0, 5)))
    np.testing.assert_allclose(model(tf.constant(padded))[:, :8], model(tf.constant(IDS)), atol=1e-5)


def test_a_mask_hides_another_document(model):
    """Two texts in one window, hidden from each other: the second's rotary logits are those that it has alone."""
    window = np.concatenate([IDS[0], IDS[1, :6]])[np.newaxis]
    document = np.array([0] * 8 + [1] * 6)
    mask = tf.constant(document[:, np.newaxis] == document)[np.newaxis, np.newaxis]
    logits = model(tf.constant(window), False, mask)
    np.testing.assert_allclose(logits[0, :8], model(tf.constant(IDS[:1]))[0], atol=1e-5)
    other = window.copy()
    other[0, :8] = 9
    np.testing.assert_allclose(model(tf.constant(other), False, mask)[0, 8:], logits[0, 8:], atol=1e-5)


PROMPTS = np.array([[2, 5, 6, 7], [0, 0, 2, 10], [0, 0, 0, 2]], np.int32)


def test_steps_behind_prompts_of_several_lengths_equal_the_whole_call(model):
    width, length = 2, 3
    continued = np.random.default_rng(0).integers(3, VOCABULARY, (3, width, length)).astype(np.int32)
    prompts = tf.constant(PROMPTS)
    memory, cache = model.start(prompts, width, length)
    ids = np.repeat(model.first(prompts).numpy()[:, np.newaxis], width, axis=1)
    for position in range(length + 1):
        logits, cache, attention = model.step(tf.constant(ids), cache, tf.constant(position), memory)
        assert logits.shape == (3, width, VOCABULARY) and attention is None
        for row, w in itertools.product(range(3), range(width)):
            text = [*PROMPTS[row][PROMPTS[row] > 0], *continued[row, w, :position]]
            expected = model(tf.constant([text]))[0, -1]
            np.testing.assert_allclose(logits[row, w], expected, rtol=1e-4, atol=1e-4)
        if position == length:
            break
        ids = continued[:, :, position]
        if position == length - 1:  # one place more, as the search lengthens a cache
            cache = [tuple(tf.pad(part, [[0, 0], [0, 0], [0, width], [0, 0]]) for part in layer) for layer in cache]


def test_steps_behind_prompts_that_stand_in_the_places_of_a_hypothesis(model):
    longest = PROMPTS.shape[1]
    memory, cache = model.read(tf.constant(PROMPTS), longest + 1)
    ids = PROMPTS[:, -1:]
    for new in range(2):
        logits, cache, _ = model.step(tf.constant(ids), cache, tf.constant(longest - 1 + new), memory)
        for row in range(3):
            text = [*PROMPTS[row][PROMPTS[row] > 0], *[7] * new]
            np.testing.assert_allclose(logits[row, 0], model(tf.constant([text]))[0, -1], rtol=1e-4, atol=1e-4)
        ids = np.full((3, 1), 7, np.int32)


def beam_by_hand(model, prompt, width, limit):
    """Return the best continuation of a prompt, by whole calls for each hypothesis."""
    beams = [(0.0, [])]
    for _ in range(limit):
        options = []
        for total, ids in beams:
            if ids[-1:] == [END_ID]:
                options.append((total, ids))
                continue
            logits = model(tf.constant([[*prompt, *ids]]))[0, -1].numpy().astype(np.float64)
            log = np.log(softmax(logits))
            options += [(total + log[t], [*ids, t]) for t in range(VOCABULARY) if t not in (PAD_ID, 1, 2)]
        beams = sorted(options, reverse=True)[:width]
    return beams


@pytest.mark.parametrize("compiled", [False, True])
def test_the_search_continues_prompts(compiled):
    model, width, limit = build("llama"), 2, 4
    search = tf.function(
        lambda ids, limits: decode([model], ids, limits, Beam(width), compiled=compiled), autograph=False
    )
    found = search(tf.constant(PROMPTS), tf.constant([limit] * 3))
    for row, prompt in enumerate(PROMPTS):
        expected = beam_by_hand(model, prompt[prompt > 0], width, limit)
        lengths = found.lengths[row].numpy()
        ours = [found.ids[row, w, : lengths[w]].numpy().tolist() for w in range(width)]
        assert ours == [ids for _, ids in expected]
        np.testing.assert_allclose(found.log_probabilities[row], [total for total, _ in expected], rtol=1e-4)


def test_shared_keys_are_repeated_heads():
    x = np.random.default_rng(1).normal(size=(2, 5, WIDTH)).astype(np.float32)
    few, many = MultiHeadAttention(WIDTH, HEADS, num_kv_heads=2), MultiHeadAttention(WIDTH, HEADS)
    for layer in (few, many):
        layer.build((None, None, WIDTH))
    randomised(few)
    for name in ("wq", "dense"):
        getattr(many, name).set_weights(getattr(few, name).get_weights())
    for name in ("wk", "wv"):
        kernel, bias = getattr(few, name).get_weights()
        heads = np.repeat(kernel.reshape(WIDTH, 2, 4), 2, axis=1), np.repeat(bias.reshape(2, 4), 2, axis=0)
        getattr(many, name).set_weights([heads[0].reshape(WIDTH, WIDTH), heads[1].reshape(WIDTH)])
    causal = tf.constant(np.tri(5, dtype=bool)[np.newaxis, np.newaxis])
    for mask in (None, causal, causal[:, :, -1:]):
        for ours, theirs in zip(few(x, x, x, mask), many(x, x, x, mask), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with pytest.raises(ValueError, match="mask must be broadcastable to"):
        few(x, x, x, tf.ones((2, HEADS, 5, 5), tf.bool))
    with pytest.raises(ValueError, match="num_heads must be a multiple of num_kv_heads=3, got 4"):
        MultiHeadAttention(WIDTH, HEADS, num_kv_heads=3)


def test_rms_norm_by_hand():
    norm = norm_of(LayerOptions(2, 1, 1, 0.0, norm="rms", norm_epsilon=0.0))
    norm.build((None, 2))
    norm.scale.assign([2.0, 1.0])
    # The mean square of 3 and 4 is 12.5.
    np.testing.assert_allclose(norm(tf.constant([[3.0, 4.0]])), [[6 / 12.5**0.5, 4 / 12.5**0.5]], rtol=1e-6)
    x = np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32)
    theirs = keras.layers.RMSNormalization(epsilon=0.0)
    theirs.build(x.shape)
    theirs.scale.assign([2.0, 1.0])
    np.testing.assert_allclose(norm(x), theirs(x), rtol=1e-5)
    with pytest.raises(ValueError, match="norm must be 'layer' or 'rms', got 'batch'"):
        norm_of(LayerOptions(2, 1, 1, 0.0, norm="batch"))


def test_first_weights_of_unscaled_embeddings():
    model = GPT(1, 64, 2, 8, 500, 100, scale_embeddings=False)
    model.build()
    assert isinstance(model.positions, Learned) and np.std(model.positions.vectors) == pytest.approx(0.02, rel=0.05)
    np.testing.assert_array_equal(
        model.embedding(tf.constant([[3]])), model.embedding.embeddings[3][np.newaxis, np.newaxis]
    )


def test_unused_ids_have_no_probability():
    whole, model = build("gpt2"), build("gpt2", unused_ids=(0, 2))
    logits = model(tf.constant(IDS)).numpy()
    used = [i for i in range(VOCABULARY) if i not in (0, 2)]
    np.testing.assert_array_equal(logits[..., used], whole(tf.constant(IDS)).numpy()[..., used])
    assert (tf.nn.softmax(logits)[..., 0:3:2].numpy() == 0).all()
    assert model.get_config()["unused_ids"] == [0, 2]


def test_it_is_saved_and_loaded_whole(tmp_path):
    model = build("llama")
    model.save(tmp_path / "gpt.keras")
    copy = keras.saving.load_model(tmp_path / "gpt.keras")
    assert isinstance(copy.positions, Rotary) and copy.positions.base == 500.0
    np.testing.assert_array_equal(copy(tf.constant(IDS)), model(tf.constant(IDS)))


def test_wrong_arguments_are_refused(model):
    with pytest.raises(ValueError, match="embeddings must be one of 'shared', 'separate', got 'target'"):
        build("gpt2", embeddings="target")
    with pytest.raises(ValueError, match="positions must be one of"):
        build("gpt2", positions="none")
    with pytest.raises(ValueError, match="ids must be at most maximum_position_encoding=24 tokens long, got 25"):
        model(tf.zeros((1, 25), tf.int32))
    with pytest.raises(ValueError, match="mask must be a boolean tensor"):
        model(tf.constant(IDS), False, tf.ones((8, 8)))
