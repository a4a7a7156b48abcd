"""T5's relative bias and Shaw's relative keys and values, from the formulas of their papers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import dense, randomised, softmax

from transformer.config.settings import ModelConfig
from transformer.layers.attention import MultiHeadAttention
from transformer.layers.options import LayerOptions
from transformer.layers.positions import KINDS, positions_of
from transformer.layers.positions_base import distances
from transformer.layers.relative_positions import RelativeBias, RelativeKeys, relative_buckets

WIDTH, HEADS = 12, 3


def states(length, seed=1):
    return np.random.default_rng(seed).normal(size=(2, length, WIDTH)).astype(np.float32)


def test_buckets_worked_out_by_hand():
    # 8 buckets, 4 for each direction: 0 and 1 have one each, then 2 + floor(2 ln(x / 2) / ln(16 / 2)), that is 2 for 2
    # to 5 (2 sqrt(8) = 5.66) and 3 from 6 on, also beyond 16. Keys behind the query have 4 more.
    expected = [0, 1, 2, 2, 2, 2, 3, 3, 3]
    steps = np.array([0, 1, 2, 3, 4, 5, 6, 16, 99])
    assert relative_buckets(-steps, 8, 16, True).tolist() == expected
    assert relative_buckets(steps[1:], 8, 16, True).tolist() == [4 + bucket for bucket in expected[1:]]
    # For one direction 8 buckets: 0 to 3 have one each, then 4 + floor(4 ln(x / 4) / ln(16 / 4)); 4 2^(1/2) = 5.66.
    assert relative_buckets(-np.array([3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 99]), 8, 16, False).tolist() == [
        *[3, 4, 4, 5, 5, 6, 6, 7, 7, 7, 7]
    ]
    assert relative_buckets(np.array([0, 1, 50]), 8, 16, False).tolist() == [0, 0, 0]  # hidden from a decoder anyway


@pytest.mark.slow  # imports torch and transformers
def test_buckets_and_biases_are_those_of_transformers():
    configuration = pytest.importorskip("transformers", reason="needs the extra [bench]").T5Config
    torch = pytest.importorskip("torch", reason="needs the extra [bench]")
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="needs the extra [bench]")

    for bidirectional, buckets, farthest in ((True, 32, 128), (False, 32, 128), (True, 6, 20), (False, 64, 300)):
        every = np.arange(-600, 601)
        theirs = t5.T5Attention._relative_position_bucket(torch.tensor(every), bidirectional, buckets, farthest)
        assert relative_buckets(every, buckets, farthest, bidirectional).tolist() == theirs.tolist()
        config = configuration(
            d_model=WIDTH,
            num_heads=HEADS,
            relative_attention_num_buckets=buckets,
            relative_attention_max_distance=farthest,
            is_decoder=not bidirectional,
        )
        attention = t5.T5Attention(config, has_relative_attention_bias=True)
        layer = RelativeBias(200, WIDTH, HEADS, buckets, farthest, bidirectional)
        layer.build()
        layer.biases.assign(attention.relative_attention_bias.weight.detach().numpy())
        bias = layer.bias(tf.zeros((1, HEADS, 150, 4)), tf.range(150), tf.range(150))
        np.testing.assert_array_equal(bias, attention.compute_bias(150, 150).detach().numpy()[0])


def attention_by_hand(mha, x, mask):
    """Return the output for one sentence (T, D): a loop over heads, queries and keys, as the papers' formulas go."""
    width, positions = WIDTH // HEADS, mha.positions
    q, k, v = (dense(part, x).reshape(len(x), HEADS, width) for part in (mha.wq, mha.wk, mha.wv))
    output = np.zeros_like(q)
    for h in range(HEADS):
        for i in range(len(x)):
            seen, scores, values = [j for j in range(len(x)) if mask[i][j]], [], []
            for j in seen:
                if isinstance(positions, RelativeBias):
                    bucket = relative_buckets(np.array(j - i), 8, 16, positions.bidirectional)
                    scores.append(q[i, h] @ k[j, h] / math.sqrt(width) + positions.biases.numpy()[bucket, h])
                    values.append(v[j, h])
                else:
                    clipped = max(-2, min(2, j - i)) + 2
                    scores.append(q[i, h] @ (k[j, h] + positions.keys.numpy()[clipped]) / math.sqrt(width))
                    values.append(v[j, h] + (positions.values.numpy()[clipped] if positions.with_values else 0))
            output[i, h] = softmax(np.array(scores)) @ np.array(values)
    return dense(mha.dense, output.reshape(len(x), WIDTH))


KEYS = RelativeKeys(9, WIDTH, HEADS, 2), RelativeKeys(9, WIDTH, HEADS, 2, with_values=False)
BIASES = RelativeBias(9, WIDTH, HEADS, 8, 16), RelativeBias(9, WIDTH, HEADS, 8, 16, bidirectional=False)


@pytest.mark.parametrize("positions", [*BIASES, *KEYS], ids=["bias", "causal bias", "keys and values", "keys"])
def test_attention_is_the_papers(positions):
    mha, x, mask = MultiHeadAttention(WIDTH, HEADS, positions=positions), states(9), np.tri(9, dtype=bool)
    mha.build(x.shape)
    randomised(mha)
    for seen in (mask, np.ones_like(mask)):
        output, _ = mha(x, x, x, tf.constant(seen))
        for b in range(2):
            np.testing.assert_allclose(output[b], attention_by_hand(mha, x[b], seen), atol=2e-5)


@pytest.mark.parametrize("positions", [BIASES[0], KEYS[0]], ids=["bias", "keys"])
def test_where_all_tokens_stand_makes_no_difference(positions):
    if not positions.built:
        positions.build()
    generator = np.random.default_rng(2)
    queries, weights = generator.normal(size=(2, HEADS, 4, 4)), generator.random((2, HEADS, 4, 6))
    at, others = tf.constant([3, 4, 5, 6]), tf.range(6)
    hooks = [
        (positions.bias, tf.constant(queries, tf.float32)),
        (positions.value_bias, tf.constant(weights, tf.float32)),
    ]
    for hook, given in hooks:
        found = hook(given, at, others)
        if found is None:
            continue
        np.testing.assert_array_equal(hook(given, at + 1000, others + 1000), found)
        rows = tf.stack([at, at + 7]), tf.stack([others, others + 7])  # each row at positions of its own
        np.testing.assert_allclose(hook(given, *rows), tf.broadcast_to(found, (2, *found.shape[-3:])), atol=1e-6)
        last = hook(given[:, :, 3:], tf.constant(6), others)  # all queries at one position, as in a cache
        np.testing.assert_allclose(
            tf.broadcast_to(last, (2, *last.shape[-3:]))[0],
            tf.broadcast_to(found, (2, *found.shape[-3:]))[0, :, 3:],
            atol=1e-6,
        )
        one = hook(given[:, :, 3:], tf.constant([[6], [6]]), tf.stack([others, others]))
        np.testing.assert_allclose(one, tf.broadcast_to(last, one.shape), atol=1e-6)
        assert np.abs(hook(given, at + 1, others) - found).max() > 1e-3


def test_distances_count_from_the_query():
    assert distances(tf.constant([1, 2]), tf.range(3)).numpy().tolist() == [[-1, 0, 1], [-2, -1, 0]]
    assert distances(tf.constant(2), tf.range(3)).numpy().tolist() == [[-2, -1, 0]]
    assert distances(tf.constant([[0], [2]]), tf.constant([[0, 1], [0, 1]])).numpy().tolist() == [[[0, 1]], [[-2, -1]]]


def test_layers_share_biases_and_have_keys_of_their_own():
    options = LayerOptions(WIDTH, HEADS, 8, 0.0, relative_distance=5, relative_buckets=8)
    stack, layers = positions_of("relative_bias", 9, options, 3, False)
    assert layers == [stack] * 3 and (stack.buckets, stack.farthest, stack.bidirectional) == (8, 5, False)
    stack, layers = positions_of("relative_keys", 9, options, 3, False)
    assert len({id(each) for each in (stack, *layers)}) == 4 and {each.farthest for each in layers} == {5}
    paper = LayerOptions(WIDTH, HEADS, 8, 0.0)
    assert positions_of("relative_bias", 9, paper, 1, True)[0].farthest == 128
    assert positions_of("relative_keys", 9, paper, 1, True)[1][0].farthest == 16


@pytest.mark.parametrize("positions", [BIASES[1], KEYS[1]], ids=["bias", "keys"])
def test_config_round_trip(positions):
    copy = keras.layers.deserialize(keras.layers.serialize(positions))
    assert type(copy) is type(positions) and copy.get_config() == positions.get_config()


def test_what_is_out_of_range_is_refused():
    for buckets, farthest, message in (
        (7, 16, "buckets must be an even number of at least 4, got 7"),
        (2, 16, "buckets must be an even number of at least 4, got 2"),
        (32, 8, "farthest must be above 8, the number of distances with a bucket each, got 8"),
        (32, 0, "farthest must be an integer of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            KINDS["relative_bias"](9, WIDTH, HEADS, buckets, farthest)
    with pytest.raises(ValueError, match="farthest must be an integer of at least 1, got -1"):
        RelativeKeys(9, WIDTH, HEADS, -1)
    for changes, message in (
        ({"relative_buckets": 5}, "relative_buckets must be an even number from 4 to 1024, got 5"),
        ({"relative_distance": -1}, "relative_distance must be from 0 to 16384, got -1"),
        ({"relative_distance": 16}, "relative_distance must be above relative_buckets / 2 = 16, got 16"),
        ({"relative_buckets": 256}, "relative_distance must be above relative_buckets / 2 = 128, got 128"),
    ):
        with pytest.raises(ValueError, match=message):
            ModelConfig(positions="relative_bias", **changes)
    assert ModelConfig(positions="relative_keys", relative_distance=1).relative_distance == 1
