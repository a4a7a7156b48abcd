"""Masks, written out."""

import numpy as np
import pytest
import tensorflow as tf

from transformer.layers.checks import check_mask
from transformer.layers.masks import create_look_ahead_mask, create_masks, create_padding_mask

SOURCE = tf.constant([[5, 6, 0], [7, 0, 0]])
TARGET = tf.constant([[2, 8, 9], [2, 4, 0]])


def test_padding_mask():
    mask = create_padding_mask(SOURCE)
    assert mask.dtype == tf.bool
    np.testing.assert_array_equal(mask, [[[[True, True, False]]], [[[True, False, False]]]])


def test_padding_in_the_middle_is_hidden_too():
    np.testing.assert_array_equal(create_padding_mask(tf.constant([[0, 4, 0, 4]])), [[[[False, True, False, True]]]])


def test_look_ahead_mask():
    mask = create_look_ahead_mask(3)
    assert mask.dtype == tf.bool
    np.testing.assert_array_equal(mask, [[True, False, False], [True, True, False], [True, True, True]])


def test_create_masks():
    encoder, combined, decoder = create_masks(SOURCE, TARGET)
    np.testing.assert_array_equal(encoder, [[[[True, True, False]]], [[[True, False, False]]]])
    np.testing.assert_array_equal(
        combined,
        [
            [[[True, False, False], [True, True, False], [True, True, True]]],
            [[[True, False, False], [True, True, False], [True, True, False]]],
        ],
    )
    np.testing.assert_array_equal(decoder, encoder)
    assert {mask.dtype for mask in (encoder, combined, decoder)} == {tf.bool}


def test_the_same_in_a_graph_of_unknown_lengths():
    ids = tf.TensorSpec((None, None), tf.int64)
    graph = tf.function(create_masks, input_signature=[ids, ids])
    for inside, outside in zip(
        graph(tf.cast(SOURCE, tf.int64), tf.cast(TARGET, tf.int64)), create_masks(SOURCE, TARGET), strict=True
    ):
        np.testing.assert_array_equal(inside, outside)


@pytest.mark.parametrize(
    "mask, kind",
    [
        (tf.ones((1, 3)), "float32"),
        (np.zeros((1, 3)), "float64"),
        (tf.ones((1, 3), tf.int32), "int32"),
        ([True], "list"),
    ],
)
def test_a_mask_that_is_not_boolean_is_refused(mask, kind):
    with pytest.raises(ValueError, match=f"combined_mask must be a boolean tensor with True = may attend, got {kind}"):
        check_mask(mask, "combined_mask")


@pytest.mark.parametrize("mask", [None, tf.constant([True]), np.array([False])])
def test_a_boolean_mask_passes(mask):
    check_mask(mask)
