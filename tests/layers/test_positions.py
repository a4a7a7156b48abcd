"""Sinusoidal, learned and rotary positions, from the formulas of the papers."""

import math

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_model import LABELS, SOURCE, TARGET, build

from transformer.config.settings import POSITIONS, ModelConfig
from transformer.layers.positions import KINDS, positional_encoding, rotary_angles, rotate
from transformer.losses.cross_entropy import masked_loss
from transformer.models.transformer import Encoder


def test_values_worked_out_by_hand():
    # d_model 4 has two frequencies: 1 / 10000^(0/4) = 1 and 1 / 10000^(2/4) = 1/100.
    expected = [
        [0.0, 1.0, 0.0, 1.0],  # sin 0, cos 0, sin 0, cos 0
        [0.84147098, 0.54030231, 0.00999983, 0.99995000],  # sin 1, cos 1, sin 0.01, cos 0.01
        [0.90929743, -0.41614684, 0.01999867, 0.99980001],  # sin 2, cos 2, sin 0.02, cos 0.02
    ]
    np.testing.assert_allclose(positional_encoding(3, 4)[0], expected, atol=1e-7)


def test_values_of_the_papers_width():
    table = positional_encoding(2048, 512).numpy()
    assert table.shape == (1, 2048, 512) and table.dtype == np.float32
    for p in (0, 1, 17, 2047):
        for i in (0, 1, 100, 255):
            angle = p / 10000 ** (2 * i / 512)
            assert table[0, p, 2 * i] == pytest.approx(math.sin(angle), abs=1e-7)
            assert table[0, p, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-7)


def test_a_shift_is_a_rotation_of_each_pair_of_columns():
    table = positional_encoding(40, 6).numpy()[0].astype(np.float64)
    for i in range(3):
        angle = 7 / 10000 ** (2 * i / 6)
        rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        np.testing.assert_allclose(table[7:, 2 * i : 2 * i + 2], table[:-7, 2 * i : 2 * i + 2] @ rotation, atol=1e-6)


def test_an_odd_width_ends_in_a_sine():
    np.testing.assert_allclose(positional_encoding(2, 3)[0, 1], [math.sin(1), math.cos(1), math.sin(10000 ** (-2 / 3))])


def test_in_a_graph():
    np.testing.assert_array_equal(tf.function(lambda: positional_encoding(5, 8))(), positional_encoding(5, 8))


def turn(x):
    angles = rotary_angles(x.shape[-2], x.shape[-1])
    return rotate(tf.constant(x), np.cos(angles), np.sin(angles)).numpy()


def test_a_turn_worked_out_by_hand():
    # Width 4 turns columns 0 and 2 by p, columns 1 and 3 by p / 100.
    x = np.array([[1.0, 0.0, 0.0, 1.0]] * 3)
    expected = [
        [1.0, 0.0, 0.0, 1.0],
        [0.54030231, -0.00999983, 0.84147098, 0.99995000],  # cos 1, -sin 0.01, sin 1, cos 0.01
        [-0.41614684, -0.01999867, 0.90929743, 0.99980001],  # cos 2, -sin 0.02, sin 2, cos 0.02
    ]
    np.testing.assert_allclose(turn(x), expected, atol=1e-8)


def test_turns_are_those_of_keras_hub():
    x = np.random.default_rng(1).normal(size=(2, 3, 40, 16)).astype(np.float32)
    theirs = keras_hub.layers.RotaryEmbedding(sequence_axis=2)(x)
    np.testing.assert_allclose(turn(x), theirs, atol=1e-5)


def test_products_of_turned_queries_and_keys_depend_on_the_distance_alone():
    query, key = np.random.default_rng(2).normal(size=(2, 1, 8))
    scores = turn(np.repeat(query, 30, axis=0)) @ turn(np.repeat(key, 30, axis=0)).T
    for distance in range(-29, 30):
        diagonal = np.diagonal(scores, distance)
        np.testing.assert_allclose(diagonal, np.full(len(diagonal), diagonal[0]), atol=1e-9)
    assert scores[0, 0] == pytest.approx((query @ key.T).item()) and np.ptp(scores[0]) > 0.1


def test_an_odd_head_does_not_turn():
    with pytest.raises(ValueError, match="depth must be even, since columns turn in pairs, got 3"):
        rotary_angles(5, 3)
    with pytest.raises(ValueError, match="d_model must be an even multiple of num_heads=2 for 'rotary', got 10"):
        ModelConfig(d_model=10, num_heads=2, positions="rotary")
    assert ModelConfig(d_model=10, num_heads=2, positions="sinusoidal").positions == "sinusoidal"


@pytest.mark.parametrize("arguments", [(0, 8), (-1, 8), (5, 0), (5, 2.5), (True, 8)])
def test_bad_sizes(arguments):
    name, value = ("d_model", arguments[1]) if arguments[0] == 5 else ("pos", arguments[0])
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got {value}"):
        positional_encoding(*arguments)


def test_sinusoids_are_added_from_the_start_that_is_given():
    assert tuple(KINDS) == POSITIONS
    layer = KINDS[ModelConfig().positions](5, 8)
    layer.build()
    x = np.random.default_rng(3).normal(size=(2, 3, 8)).astype(np.float32)
    np.testing.assert_allclose(layer.embed(x, 2) - x, [positional_encoding(5, 8)[0, 2:]] * 2, atol=1e-6)
    assert layer.count_params() == 0
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    np.testing.assert_array_equal(copy.embed(x, 0), layer.embed(x, 0))


def test_rotary_positions_add_nothing_and_hold_nothing():
    layer = KINDS["rotary"](5, 8)
    layer.build()
    assert layer.embed(SOURCE, 0) is SOURCE and layer.count_params() == 0


def test_each_learned_position_adds_its_own_vector():
    encoder = build(positions="learned").encoder
    assert encoder.positions.vectors.path == "transformer/encoder/positions/vectors"
    added = encoder.embed(SOURCE) - encoder.embedding(SOURCE)
    np.testing.assert_allclose(added, [encoder.positions.vectors[:5]] * 2, atol=1e-6)


def test_vectors_of_positions_that_occur_get_a_gradient():
    model = build(positions="learned")
    with tf.GradientTape() as tape:
        loss = masked_loss(LABELS, model((SOURCE, TARGET)))
    gradient = tape.gradient(loss, model.encoder.positions.vectors)
    assert (np.abs(gradient).max(axis=1) > 1e-6).tolist() == [True] * 5 + [False] * 11


def test_past_the_last_position_is_an_error():
    layer = KINDS["learned"](5, 8)
    layer.build()
    with pytest.raises(tf.errors.InvalidArgumentError):
        layer.embed(tf.zeros((1, 2, 8)), 4)


def test_unknown_kinds_and_bad_counts_are_refused():
    for refused in (lambda kind: ModelConfig(positions=kind), lambda kind: Encoder(1, 8, 2, 8, 9, 5, positions=kind)):
        with pytest.raises(ValueError, match="positions must be one of 'sinusoidal', .*'relative_keys', got 'cosine'"):
            refused("cosine")
    with pytest.raises(ValueError, match="count must be an integer of at least 1, got 0"):
        KINDS["sinusoidal"](0, 8)
