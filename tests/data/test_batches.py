"""From pairs to batches: nothing is lost, nothing comes twice, every budget holds, and every order can be repeated."""

import struct
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from number_corpus import a_config, a_task, as_ids, rows_of, unlike_pairs, write_corpus

from transformer.data import records as records_module
from transformer.data.batches import batches, cut_into_batches
from transformer.data.records import decode_records, encode_records
from transformer.ids import PAD_ID
from transformer.training.preparation import stored_rows

IDS = st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9)


@pytest.fixture
def make(tmp_path):
    """Return a function from pairs and data settings to (shards, task, data config)."""

    def make(pairs, **data):
        config = a_config(tmp_path, **data)
        task = a_task(config)
        return stored_rows(write_corpus(tmp_path, pairs), "train", task), task, config.data

    return make


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4).flatmap(lambda count: st.lists(st.tuples(*[IDS] * count), min_size=1, max_size=6)))
def test_records_give_back_what_was_written(rows):
    columns = [
        (np.array(sum(column, []), np.int32), np.array([*map(len, column)])) for column in zip(*rows, strict=True)
    ]
    names = "abcd"[: len(columns)]
    records = encode_records(columns)
    heads = [[len(part) for part in row[:-1]] for row in rows]
    assert records == [
        struct.pack(f"<{len(n)}i", *n) for n in (h + sum(row, []) for h, row in zip(heads, rows, strict=True))
    ]
    found = decode_records(tf.constant(records), names)
    assert [found[name].to_list() for name in names] == [list(column) for column in zip(*rows, strict=True)]


def test_no_row_is_no_record():
    assert encode_records([(np.zeros(0, np.int32), np.zeros(0, np.int64))] * 2) == []


def cut_by_a_loop(source, target, budget, step):
    def parts(length):
        return -(-length // step)

    def bucket(i):
        return max(parts(source[i]), parts(target[i]))

    order = sorted(range(len(source)), key=lambda i: (bucket(i), parts(target[i]), parts(source[i]), i))
    starts, room = [], 0
    for place, i in enumerate(order):
        if place == 0 or bucket(i) != bucket(order[place - 1]) or room == 0:
            starts.append(place)
            room = max(1, budget // (bucket(i) * step))
        room -= 1
    return order, starts


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=60),
    st.integers(8, 120),
    st.integers(1, 7),
)
def test_batches_are_cut_as_by_a_plain_loop(lengths, budget, step):
    source, target = (np.array(side) for side in zip(*lengths, strict=True))
    order, starts = cut_into_batches([tf.constant(source), tf.constant(target)], budget, step)
    expected_order, expected_starts = cut_by_a_loop(source, target, budget, step)
    assert order.numpy().tolist() == expected_order
    assert starts.numpy().tolist() == expected_starts


def test_a_batch_by_hand(make):
    shards, task, config = make([("7 8 9", "5"), ("6", "4 5 6 7")])
    (found,) = batches(shards, task, config)
    source_ids, target_in, target_out = (found[name] for name in task.features)
    # Sources of 3 + 2 and 1 + 2 tokens, targets of 1 + 1 and 4 + 1: both pairs are in the bucket of 8, the pair with
    # the shorter target first. 48 // 8 = 6 rows are full, an eighth of them is one row.
    assert source_ids.numpy().tolist() == [[2, 7, 8, 9, 3, 0, 0, 0], [2, 6, 3, 0, 0, 0, 0, 0]]
    assert target_in.numpy().tolist() == [[2, 5, 0, 0, 0, 0, 0, 0], [2, 4, 5, 6, 7, 0, 0, 0]]
    assert target_out.numpy().tolist() == [[5, 3, 0, 0, 0, 0, 0, 0], [4, 5, 6, 7, 3, 0, 0, 0]]
    assert {part.dtype for part in (source_ids, target_in, target_out)} == {tf.int32}
    assert (shards.rows, shards.left_out) == (2, {"too long": 0})


@pytest.mark.parametrize("seed, buffer", [(None, 1000), (3, 17)])
def test_every_pair_comes_exactly_once_in_an_epoch(make, monkeypatch, seed, buffer):
    monkeypatch.setattr(records_module, "ROWS_PER_SHARD", 30)
    pairs = unlike_pairs(80)
    shards, task, config = make(pairs, shuffle_buffer=buffer)
    assert len(shards.paths) == 3 and shards.rows == 80
    found = Counter(pair for batch in batches(shards, task, config, seed, epoch=2) for pair in rows_of(batch))
    assert found == as_ids(pairs)


def shapes_allowed(max_tokens, batch_tokens, step):
    """Count from the limits alone: pairs of padded lengths, and eight row counts for each."""
    widths = range(step, max_tokens + step, step)
    allowed = set()
    for source in widths:
        for target in widths:
            full = max(1, batch_tokens // max(source, target))
            part = -(-full // 8)
            allowed |= {(min(full, rows), source, target) for rows in range(part, full + part, part)}
    assert len(allowed) <= 8 * len(widths) ** 2
    return allowed


@pytest.mark.parametrize("batch_tokens, step", [(200, 3), (12, 1)])
def test_batches_keep_the_budget_and_the_shapes_are_bounded(make, batch_tokens, step):
    shards, task, config = make(unlike_pairs(100), batch_tokens=batch_tokens, length_step=step, shuffle_buffer=60)
    allowed = shapes_allowed(12, batch_tokens, step)
    for batch in batches(shards, task, config, seed=1):
        source_ids, target_in, target_out = (batch[name] for name in task.features)
        assert target_in.shape == target_out.shape
        assert (*source_ids.shape, target_in.shape[1]) in allowed
        assert max(tf.size(source_ids), tf.size(target_in)) <= batch_tokens
        # Padding is bounded: no side is padded by a step more than its longest row needs.
        for ids in (source_ids, target_in):
            assert tf.reduce_any(ids[:, -step:] != PAD_ID)


def order_of(shards, task, config, seed, epoch):
    return [rows_of(batch) for batch in batches(shards, task, config, seed, epoch)]


def test_the_order_follows_from_seed_and_epoch(make, monkeypatch):
    monkeypatch.setattr(records_module, "ROWS_PER_SHARD", 12)
    shards, task, config = make(unlike_pairs(30))
    first = order_of(shards, task, config, 1, 0)
    assert order_of(shards, task, config, 1, 0) == first
    others = [
        order_of(shards, task, config, 1, 1),
        order_of(shards, task, config, 2, 0),
        order_of(shards, task, config, None, 0),
    ]
    assert first not in others and others[0] not in others[1:]


def test_skip_resumes_inside_an_epoch(make):
    shards, task, config = make(unlike_pairs(40))
    whole = order_of(shards, task, config, 1, 4)
    assert len(whole) > 8
    assert [rows_of(batch) for batch in batches(shards, task, config, 1, 4).skip(7)] == whole[7:]


def test_no_epoch_ends_with_a_wait_for_the_tuner_of_tf_data(make):
    # Its thread is joined when an iterator goes, and may sleep on for up to a minute (seen with TensorFlow 2.21).
    shards, task, config = make([("7 8 9", "5")])
    assert batches(shards, task, config, seed=1).skip(1).options().autotune.enabled is False


def test_a_pair_with_a_long_side_is_left_out_and_counted(make):
    ten, eleven = " ".join("5" * 10), " ".join("5" * 11)  # start and end make 12 and 13 of them
    shards, task, config = make([(ten, "6"), ("6", ten), (eleven, "7"), ("7", eleven)])
    assert (shards.rows, shards.left_out) == (2, {"too long": 2})
    assert sorted(pair for batch in batches(shards, task, config) for pair in rows_of(batch)) == sorted(
        as_ids([(ten, "6"), ("6", ten)])
    )
