"""Ranks, accuracy, reciprocal ranks and McNemar's test, worked out by hand."""

import math

import numpy as np
import pytest

from transformer.metrics import retrieval

QUERIES = np.array([[1, 0], [0, 2], [-1, -1]], np.float32)
CANDIDATES = np.array([[2, 1], [1, 1], [1, 2], [0, 1]], np.float32)
# Cosines: 0.894 0.707 0.447 0; 0.447 0.707 0.894 1; -0.949 -1 -0.949 -0.707. Right are columns 0, 1 and 2.


def test_ranks_are_counted_from_the_nearest():
    found = retrieval.ranks(QUERIES, CANDIDATES, list("abcd"))
    assert found.tolist() == [1, 3, 3]  # the third ties with column 0, which counts against it
    assert retrieval.accuracy_at(found, 1) == pytest.approx(1 / 3)
    assert retrieval.accuracy_at(found, 3) == 1.0
    assert retrieval.mean_reciprocal_rank(found) == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)


def test_a_text_that_occurs_twice_is_right_both_times():
    assert retrieval.ranks(QUERIES, CANDIDATES, list("abcb")).tolist() == [1, 1, 3]


def test_blocks_change_nothing(monkeypatch):
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 7, 4))
    together = retrieval.ranks_both_ways(one, other, list("abcdefg"), list("hijklmn"))
    monkeypatch.setattr(retrieval, "BLOCK", 2)
    for ours, theirs in zip(
        retrieval.ranks_both_ways(one, other, list("abcdefg"), list("hijklmn")), together, strict=True
    ):
        assert ours.tolist() == theirs.tolist()


def test_vectors_that_are_all_the_same_find_nothing():
    found = retrieval.ranks(np.ones((3, 2)), np.ones((3, 2)), list("abc"))
    assert found.tolist() == [3, 3, 3]


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="3 queries, 2 candidates"):
        retrieval.ranks(QUERIES, CANDIDATES[:2], ["a", "b"])
    with pytest.raises(ValueError, match="same examples"):
        retrieval.mcnemar([True], [True, False])


def test_mcnemar_is_the_two_sided_sign_test():
    """1 against 5 examples: 2 (1 + 6) / 2^6 = 0.21875; as many on both sides: 1."""
    one = np.array([1] + [0] * 5 + [1, 0], bool)
    other = np.array([0] + [1] * 5 + [1, 0], bool)
    assert retrieval.mcnemar(one, other) == pytest.approx(2 * (1 + 6) / 64)
    assert retrieval.mcnemar([1, 0], [0, 1]) == 1.0
    assert retrieval.mcnemar([1, 1], [1, 1]) == 1.0
    big = retrieval.mcnemar([True] * 1200 + [False] * 900, [False] * 1200 + [True] * 900)
    assert 0 < big < 1e-9 and math.isfinite(big)
