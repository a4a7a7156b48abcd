"""Held-out pairs: equal to a plain sort of all hashes, whatever the order and the copies."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transformer.data.examples.held_out import hold_out, pair_hash

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@UNTIMED
@given(st.lists(st.integers(0, 60), max_size=300), st.integers(1, 12))
def test_hold_out_equals_a_plain_sort(numbers, wanted):
    pairs = [(str(number), "x") for number in numbers]
    copies = Counter(pair_hash(pair) for pair in pairs)
    room, expected = len(pairs) // 10, set()
    for key in sorted(copies)[:wanted]:
        if copies[key] <= room:
            room -= copies[key]
            expected.add(key)
    assert hold_out(iter(pairs), wanted) == expected


@pytest.mark.parametrize("same", [(" a", "b\u2581"), ("<b>a</b>", "b"), ("a", "&#98;"), ("a\u3000", "<p>b</p>")])
def test_pairs_that_cleaning_makes_equal_have_one_hash(same):
    assert pair_hash(same) == pair_hash(("a", "b"))


def test_other_pairs_have_other_hashes():
    pairs = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("A", "b"), ("a", "b.")]
    assert len({pair_hash(pair) for pair in pairs}) == len(pairs)
