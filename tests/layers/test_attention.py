"""Attention, by hand on three tokens and head by head in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import attention, multi_head_attention, randomised

from transformer.layers.attention import MultiHeadAttention, scaled_dot_product_attention
from transformer.layers.positions import Positions, Rotary

# The head is 4 wide, so scores are halved: q . k / 2 = ln 1, ln 2, ln 3, and the weights are 1/6, 2/6, 3/6.
QUERY = np.array([[2.0, 0.0, 0.0, 0.0]], np.float32)
KEYS = np.array([[np.log(n), 5.0, -3.0, 1.0] for n in (1, 2, 3)], np.float32)
VALUES = np.array([[6.0, 0.0], [12.0, 0.0], [0.0, 6.0]], np.float32)
MASK = np.array([[[True, True, False, True], [True, False, False, True], [True, True, True, False]]])  # (1, T 3, S 4)


def test_three_tokens_by_hand():
    output, weights = scaled_dot_product_attention(QUERY, KEYS, VALUES, None)
    np.testing.assert_allclose(weights, [[1 / 6, 2 / 6, 3 / 6]], atol=1e-6)
    np.testing.assert_allclose(output, [[5.0, 3.0]], atol=1e-5)  # 6 / 6 + 12 * 2 / 6, and 6 * 3 / 6


def test_three_tokens_with_the_last_one_hidden():
    output, weights = scaled_dot_product_attention(QUERY, KEYS, VALUES, tf.constant([[True, True, False]]))
    np.testing.assert_allclose(weights, [[1 / 3, 2 / 3, 0.0]], atol=1e-6)
    assert weights[0, 2] == 0.0
    np.testing.assert_allclose(output, [[10.0, 0.0]], atol=1e-5)


def test_what_is_hidden_has_no_effect_at_all():
    mask = tf.constant([[True, True, False]])
    other = KEYS.copy(), VALUES.copy()
    other[0][2], other[1][2] = 1e4, 1e4
    for expected, result in zip(
        scaled_dot_product_attention(QUERY, KEYS, VALUES, mask),
        scaled_dot_product_attention(QUERY, *other, mask),
        strict=True,
    ):
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_query_that_may_attend_to_nothing_gives_no_nan(dtype):
    q, k, v = (tf.Variable(tf.cast(x, dtype)) for x in (QUERY, KEYS, VALUES))
    with tf.GradientTape() as tape:
        output, weights = scaled_dot_product_attention(q, k, v, tf.constant([[False, False, False]]))
    np.testing.assert_allclose(tf.cast(weights, tf.float32), [[1 / 3, 1 / 3, 1 / 3]], atol=2e-3)
    np.testing.assert_allclose(tf.cast(output, tf.float32), [[6.0, 2.0]], rtol=1e-2)
    assert output.dtype == weights.dtype == dtype
    for gradient in tape.gradient(output, [q, k, v]):
        assert np.isfinite(gradient.numpy().astype(np.float32)).all()


def test_half_precision_takes_the_softmax_in_float32():
    # 8 keys with equal scores beside 4,000 that are hidden: in float16 the hidden score itself would overflow.
    k = tf.ones((4008, 4), tf.float16)
    mask = tf.range(4008)[tf.newaxis] < 8
    _, weights = scaled_dot_product_attention(tf.cast(QUERY, tf.float16), k, k, mask)
    np.testing.assert_array_equal(weights[0, :8], np.full(8, 0.125))
    np.testing.assert_array_equal(weights[0, 8:], np.zeros(4000))


def test_heads_and_batches_stay_apart():
    generator = np.random.default_rng(1)
    q, k, v = (generator.normal(size=(2, 3, length, 4)).astype(np.float32) for length in (5, 6, 6))
    mask = generator.random((2, 1, 5, 6)) < 0.7
    mask[..., 0] = True
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    for b in range(2):
        for h in range(3):
            expected = attention(q[b, h], k[b, h], v[b, h], mask[b, 0])
            np.testing.assert_allclose(output[b, h], expected[0], atol=1e-5)
            np.testing.assert_allclose(weights[b, h], expected[1], atol=1e-6)


def test_a_float_mask_is_refused():
    with pytest.raises(ValueError, match="mask must be a boolean tensor with True = may attend, got float32"):
        scaled_dot_product_attention(QUERY, KEYS, VALUES, tf.constant([[0.0, 0.0, 1.0]]))


def test_dropout_reaches_the_values_but_not_the_returned_weights():
    dropout = keras.layers.Dropout(0.5, seed=3)
    k = v = tf.eye(64)
    plain, expected = scaled_dot_product_attention(k, k, v, None, dropout=dropout, training=False)
    np.testing.assert_array_equal(plain, expected)  # the values are the identity
    dropped, weights = scaled_dot_product_attention(k, k, v, None, dropout=dropout, training=True)
    np.testing.assert_array_equal(weights, expected)
    kept = dropped.numpy() != 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(dropped.numpy()[kept], 2 * expected.numpy()[kept], rtol=1e-6)


@pytest.fixture(scope="module")
def mha():
    layer = MultiHeadAttention(12, 3)
    layer.build((None, None, 12))
    return randomised(layer)


def states(length, seed):
    return np.random.default_rng(seed).normal(size=(2, length, 12)).astype(np.float32)


def test_multi_head_attention_head_by_head(mha):
    v, k, q = states(4, 1), states(4, 2), states(3, 3)
    mask = np.stack([MASK, ~MASK | (np.arange(4) == 0)])  # (B, 1, T, S)
    output, weights = mha(v, k, q, mask)
    assert output.shape == (2, 3, 12) and weights.shape == (2, 3, 3, 4)
    for b in range(2):
        np.testing.assert_allclose(output[b], multi_head_attention(mha, v[b], k[b], q[b], mask[b, 0]), atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=-1), np.ones((2, 3, 3)), atol=1e-6)
    assert not np.any(weights.numpy()[np.broadcast_to(~mask, (2, 3, 3, 4))])


def test_each_of_values_keys_and_queries_has_its_place(mha):
    v, k, q = states(4, 1), states(4, 2), states(4, 3)
    output, weights = mha(v, k, q, None)
    other_values, same_weights = mha(v + 1.0, k, q, None)
    np.testing.assert_array_equal(weights, same_weights)
    # Rows of weights sum to 1, so a constant added to every value goes through W^V and W^O only.
    shift = np.ones((1, 12)) @ mha.wv.kernel.numpy() @ mha.dense.kernel.numpy()
    np.testing.assert_allclose(other_values - output, np.broadcast_to(shift, output.shape), atol=1e-4)
    one_query, one_row = mha(v, k, q[:, 2:3], None)
    np.testing.assert_allclose(one_query, output[:, 2:3], atol=1e-5)
    np.testing.assert_allclose(one_row, weights[:, :, 2:3], atol=1e-6)


def test_the_order_of_keys_does_not_matter(mha):
    v, k, q = states(4, 1), states(4, 2), states(3, 3)
    mask = MASK[np.newaxis]
    order = [2, 0, 3, 1]
    shuffled, _ = mha(v[:, order], k[:, order], q, mask[..., order])
    np.testing.assert_allclose(shuffled, mha(v, k, q, mask)[0], atol=1e-5)


def test_split_heads_gives_each_head_neighbouring_columns(mha):
    x = tf.reshape(tf.range(24.0), (1, 2, 12))
    np.testing.assert_array_equal(
        mha.split_heads(x, 1),
        [[[[0, 1, 2, 3], [12, 13, 14, 15]], [[4, 5, 6, 7], [16, 17, 18, 19]], [[8, 9, 10, 11], [20, 21, 22, 23]]]],
    )


def test_queries_and_keys_turn_by_their_positions():
    layer, x, mask = MultiHeadAttention(12, 3, positions=Rotary(6, 12, 3)), states(4, 1), np.tri(4, dtype=bool)
    layer.build(x.shape)
    randomised(layer)
    output, _ = layer(x, x, x, tf.constant(mask))
    for b in range(len(x)):
        np.testing.assert_allclose(output[b], multi_head_attention(layer, x[b], x[b], x[b], mask), atol=1e-5)
    turn, queries = layer.positions.turn, layer.project_queries(x)
    at_third = turn(queries[:, :, 2:3], tf.constant(2))
    np.testing.assert_array_equal(at_third, turn(queries, tf.range(4))[:, :, 2:3])


class Nearer(Positions):
    """Takes two from a score for each token of distance."""

    def bias(self, queries, query_positions, key_positions):
        distances = tf.abs(tf.reshape(query_positions, (-1, 1)) - key_positions)
        return -2.0 * tf.cast(distances, tf.float32)


def test_a_bias_of_positions_is_added_to_the_scores():
    layer, plain, x = MultiHeadAttention(12, 3, positions=Nearer(6, 12)), MultiHeadAttention(12, 3), states(4, 1)
    for each in (layer, plain):
        each.build(x.shape)
        randomised(each)
    _, weights = layer(x, x, x, None)
    expected = plain(x, x, x, None)[1] * np.exp(-2.0 * np.abs(np.subtract.outer(range(4), range(4))))
    np.testing.assert_allclose(weights, expected / expected.numpy().sum(axis=-1, keepdims=True), atol=1e-6)


def test_attention_dropout_only_in_training():
    layer = MultiHeadAttention(12, 3, rate=0.5)
    x = states(4, 1)
    output, weights = layer(x, x, x, None, training=False)
    np.testing.assert_array_equal(layer(x, x, x, None)[0], output)
    dropped, same_weights = layer(x, x, x, None, training=True)
    assert np.abs(dropped - output).max() > 1e-3
    np.testing.assert_allclose(same_weights, weights, rtol=1e-6)  # training multiplies by another kernel
    layer.dropout.rate = 0.0
    np.testing.assert_array_equal(same_weights, layer(x, x, x, None, training=True)[1])


def test_kernels_start_as_the_docstring_says():
    layer = MultiHeadAttention(64, 4)
    layer.build((None, None, 64))
    glorot = np.sqrt(6 / (64 + 64))
    for part, bound in ((layer.wq, glorot / 2**0.5), (layer.wk, glorot / 2**0.5), (layer.wv, glorot / 2**0.5)):
        assert 0.95 * bound < np.abs(part.kernel).max() <= bound
        assert not np.any(part.bias)
    assert 0.95 * glorot < np.abs(layer.dense.kernel).max() <= glorot


@pytest.mark.parametrize("d_model, num_heads", [(10, 3), (8, 0), (8, -2), (8, 16), (0, 1), (8, 2.0)])
def test_bad_head_counts(d_model, num_heads):
    with pytest.raises(ValueError, match="d_model|num_heads") as error:
        MultiHeadAttention(d_model, num_heads)
    assert str(d_model) in str(error.value) or str(num_heads) in str(error.value)


def test_config_round_trip():
    layer = MultiHeadAttention(12, 3, 0.25, name="attention")
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is MultiHeadAttention and copy.get_config() == layer.get_config()
    assert (copy.d_model, copy.num_heads, copy.rate, copy.name) == (12, 3, 0.25, "attention")
