"""From pairs to batches: nothing is lost, nothing comes twice, every budget holds, and every order can be repeated."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer.config import END_ID, PAD_ID, START_ID, Config, UserError
from transformer.data import pipeline
from transformer.data.cleaning import CleaningReport
from transformer.data.corpora import FileCorpus
from transformer.data.pipeline import batches, cleaned_pairs, cut_into_batches, tokenised_shards
from transformer.data.tokenizers import TokenizerPair

IDS = st.lists(st.integers(4, 2**31 - 1), max_size=9)


class Numbers:
    """A tokenizer whose text is its ids: '7 12 5' -> [7, 12, 5]."""

    kind = "numbers"

    def __init__(self, asset=b"numbers"):
        self.asset, self.calls = asset, []

    def tokenize(self, texts):
        self.calls.append(len(texts))
        return tf.ragged.map_flat_values(tf.strings.to_number, tf.strings.split(texts), out_type=tf.int32)


def a_pair(rng, longest=10):
    return tuple(" ".join(map(str, rng.integers(4, 99, rng.integers(1, longest + 1)))) for _ in range(2))


def unlike_pairs(count, longest=10, seed=0):
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        found[a_pair(rng, longest)] = None
    return list(found)


def write_corpus(folder, pairs, validation=(("4", "4"),)):
    files = {}
    for split, rows in (("train", pairs), ("validation", validation)):
        files[split] = tuple(folder / f"{split}.{side}" for side in "ab")
        for path, lines in zip(files[split], zip(*rows, strict=True), strict=True):
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return FileCorpus(files, "en", "de", 10)


@pytest.fixture
def make(tmp_path):
    """Return a function from pairs and data settings to (shards, data config)."""

    def make(pairs, **data):
        config = a_config(tmp_path, **data)
        tokenizer = Numbers()
        corpus = write_corpus(tmp_path, pairs)
        return tokenised_shards(corpus, "train", TokenizerPair(tokenizer, tokenizer), config), config.data

    return make


def a_config(folder, cleaning=None, **data):
    sizes = {"max_tokens": 12, "batch_tokens": 48, "length_step": 4, "shuffle_buffer": 64}
    return Config().override({"data": {**sizes, "cache": str(folder / "cache"), **data}, "cleaning": cleaning or {}})


def rows_of(batch):
    """Return the pairs of a batch as they must have been, from all three tensors; rows of padding only left out."""
    (source_ids, target_in), target_out = (part if isinstance(part, tuple) else part.numpy() for part in batch)
    pairs = []
    for source, before, after in zip(source_ids.numpy(), target_in.numpy(), target_out, strict=True):
        source, before, after = (row[row != PAD_ID].tolist() for row in (source, before, after))
        if not source:
            assert not before and not after
            continue
        assert source[0] == START_ID and source[-1] == END_ID
        assert before[0] == START_ID and after[-1] == END_ID
        assert before[1:] == after[:-1]
        pairs.append((tuple(source[1:-1]), tuple(after[:-1])))
    return pairs


def as_ids(pairs):
    return Counter(tuple(tuple(map(int, side.split())) for side in pair) for pair in pairs)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6))
def test_records_give_back_what_was_written(pairs):
    records = tf.constant([pipeline.encode_pair(np.array(s, np.int32), np.array(t, np.int32)) for s, t in pairs])
    source, target = pipeline.decode_pairs(records)
    assert source.to_list() == [[START_ID, *s, END_ID] for s, _ in pairs]
    assert target.to_list() == [[START_ID, *t, END_ID] for _, t in pairs]


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
    order, starts = cut_into_batches(tf.constant(source), tf.constant(target), budget, step)
    expected_order, expected_starts = cut_by_a_loop(source, target, budget, step)
    assert order.numpy().tolist() == expected_order
    assert starts.numpy().tolist() == expected_starts


def test_a_batch_by_hand(make):
    shards, config = make([("7 8 9", "5"), ("6", "4 5 6 7")])
    (found,) = batches(shards, config)
    (source_ids, target_in), target_out = found
    # Sources of 3 + 2 and 1 + 2 tokens, targets of 1 + 1 and 4 + 1: both pairs are in the bucket of 8, the pair with
    # the shorter target first. 48 // 8 = 6 rows are full, an eighth of them is one row.
    assert source_ids.numpy().tolist() == [[2, 7, 8, 9, 3, 0, 0, 0], [2, 6, 3, 0, 0, 0, 0, 0]]
    assert target_in.numpy().tolist() == [[2, 5, 0, 0, 0, 0, 0, 0], [2, 4, 5, 6, 7, 0, 0, 0]]
    assert target_out.numpy().tolist() == [[5, 3, 0, 0, 0, 0, 0, 0], [4, 5, 6, 7, 3, 0, 0, 0]]
    assert {part.dtype for part in (source_ids, target_in, target_out)} == {tf.int32}
    assert (shards.pairs, shards.target_tokens, shards.too_long) == (2, 2 + 5, 0)


@pytest.mark.parametrize("seed, buffer", [(None, 1000), (3, 17)])
def test_every_pair_comes_exactly_once_in_an_epoch(make, monkeypatch, seed, buffer):
    monkeypatch.setattr(pipeline, "PAIRS_PER_SHARD", 30)
    pairs = unlike_pairs(80)
    shards, config = make(pairs, shuffle_buffer=buffer)
    assert len(shards.paths) == 3 and shards.pairs == 80
    found = Counter(pair for batch in batches(shards, config, seed, epoch=2) for pair in rows_of(batch))
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
    shards, config = make(unlike_pairs(100), batch_tokens=batch_tokens, length_step=step, shuffle_buffer=60)
    allowed = shapes_allowed(12, batch_tokens, step)
    for (source_ids, target_in), target_out in batches(shards, config, seed=1):
        assert target_in.shape == target_out.shape
        assert (*source_ids.shape, target_in.shape[1]) in allowed
        assert max(tf.size(source_ids), tf.size(target_in)) <= batch_tokens
        # Padding is bounded: no side is padded by a step more than its longest row needs.
        for ids in (source_ids, target_in):
            assert tf.reduce_any(ids[:, -step:] != PAD_ID)


def order_of(shards, config, seed, epoch):
    return [rows_of(batch) for batch in batches(shards, config, seed, epoch)]


def test_the_order_follows_from_seed_and_epoch(make, monkeypatch):
    monkeypatch.setattr(pipeline, "PAIRS_PER_SHARD", 12)
    shards, config = make(unlike_pairs(30))
    first = order_of(shards, config, 1, 0)
    assert order_of(shards, config, 1, 0) == first
    others = [order_of(shards, config, 1, 1), order_of(shards, config, 2, 0), order_of(shards, config, None, 0)]
    assert first not in others and others[0] not in others[1:]


def test_skip_resumes_inside_an_epoch(make):
    shards, config = make(unlike_pairs(40))
    whole = order_of(shards, config, 1, 4)
    assert len(whole) > 8
    assert [rows_of(batch) for batch in batches(shards, config, 1, 4).skip(7)] == whole[7:]


def test_a_pair_with_a_long_side_is_left_out_and_counted(make):
    ten, eleven = " ".join("5" * 10), " ".join("5" * 11)  # start and end make 12 and 13 of them
    shards, config = make([(ten, "6"), ("6", ten), (eleven, "7"), ("7", eleven)])
    assert (shards.pairs, shards.too_long) == (2, 2)
    assert sorted(pair for batch in batches(shards, config) for pair in rows_of(batch)) == sorted(
        as_ids([(ten, "6"), ("6", ten)])
    )


def test_training_pairs_are_cleaned_and_validation_pairs_are_not(tmp_path):
    doubled = [("4", "5"), ("4", "5"), ("", "6")]
    corpus = write_corpus(tmp_path, doubled, doubled)
    config = a_config(tmp_path)
    report = CleaningReport()
    assert list(cleaned_pairs(corpus, "train", config, report)) == [("4", "5")]
    assert (report.read, report.kept, report.removed["drop_empty"], report.removed["drop_duplicates"]) == (3, 1, 1, 1)
    assert list(cleaned_pairs(corpus, "validation", config)) == doubled
    tokenizers = TokenizerPair(Numbers(), Numbers())
    assert "kept 1 of 3 pairs" in tokenised_shards(corpus, "train", tokenizers, config).cleaning
    validation = tokenised_shards(corpus, "validation", tokenizers, config)
    assert (validation.pairs, validation.cleaning) == (3, "not cleaned")
    ((source_ids, _), _), *_ = batches(validation, config.data)
    assert [START_ID, END_ID, PAD_ID, PAD_ID] in source_ids.numpy().tolist()  # the empty source stays a row


def refused(*arguments):
    with pytest.raises(UserError) as error:
        tokenised_shards(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_corpus_without_a_pair_left_is_refused(tmp_path):
    tokenizers = TokenizerPair(Numbers(), Numbers())
    corpus = write_corpus(tmp_path, [("4 5 6", "4"), ("4 5 6 7", "5")])
    message = refused(corpus, "train", tokenizers, a_config(tmp_path, {"max_words": 2}))
    assert "no pair of train.a + train.b passed the cleaning" in message
    assert "max_words removed 2" in message and "Relax [cleaning]" in message
    message = refused(corpus, "train", tokenizers, a_config(tmp_path, max_tokens=4))
    assert "no train pair" in message and "2 longer than data.max_tokens=4" in message
    few = FileCorpus({"train": corpus._files["train"]}, "en", "de", 10)  # too few to give any away
    assert "--valid-source" in refused(few, "validation", tokenizers, a_config(tmp_path))


@pytest.fixture
def counted(monkeypatch):
    """Count how often shards are written."""
    written = []
    original = pipeline._write_shards
    monkeypatch.setattr(pipeline, "_write_shards", lambda *a: (written.append(a[0]), original(*a)))
    return written


def test_shards_are_made_once_and_again_when_what_they_hold_changes(tmp_path, counted):
    tokenizers, config = TokenizerPair(Numbers(), Numbers()), a_config(tmp_path)
    corpus = write_corpus(tmp_path, unlike_pairs(20))
    shards = tokenised_shards(corpus, "train", tokenizers, config)
    same = [config, a_config(tmp_path, length_step=2), a_config(tmp_path, batch_tokens=100, shuffle_buffer=5)]
    for again in same:
        assert tokenised_shards(corpus, "train", TokenizerPair(Numbers(), Numbers()), again) == shards
    assert len(counted) == 1
    tokenised_shards(corpus, "validation", tokenizers, config)
    tokenised_shards(corpus, "train", TokenizerPair(Numbers(), Numbers(b"other")), config)
    tokenised_shards(corpus, "train", tokenizers, a_config(tmp_path, {"max_words": 9}))
    tokenised_shards(corpus, "train", tokenizers, a_config(tmp_path, max_tokens=11))
    tokenised_shards(write_corpus(tmp_path, unlike_pairs(20, seed=1)), "train", tokenizers, config)
    assert len(counted) == 6


@pytest.mark.parametrize("damage", ["no summary", "no shard", "half a summary", "another summary"])
def test_shards_that_are_not_complete_are_made_again(tmp_path, counted, damage):
    arguments = write_corpus(tmp_path, [("4", "5")]), "train", TokenizerPair(Numbers(), Numbers()), a_config(tmp_path)
    shards = tokenised_shards(*arguments)
    summary = Path(shards.paths[0]).parent / "summary.json"
    if damage == "no summary":
        summary.unlink()
    elif damage == "no shard":
        Path(shards.paths[0]).unlink()
    elif damage == "half a summary":
        summary.write_text(summary.read_text()[:20])
    else:
        summary.write_text(json.dumps({"paths": []}))
    assert tokenised_shards(*arguments) == shards
    assert len(counted) == 2 and Path(shards.paths[0]).exists()


def test_a_process_that_fails_half_way_leaves_no_shards(tmp_path, monkeypatch):
    arguments = write_corpus(tmp_path, [("4", "5")]), "train", TokenizerPair(Numbers(), Numbers()), a_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "encode_pair", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tokenised_shards(*arguments)
    assert list((tmp_path / "cache").iterdir()) == []
    # What a killed process leaves, a folder under its temporary name, is not taken for shards.
    shards = tokenised_shards(*arguments)
    folder = Path(shards.paths[0]).parent
    folder.rename(folder.with_name(folder.name + ".killed"))
    assert tokenised_shards(*arguments) == shards and folder.is_dir()


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    corpus = write_corpus(tmp_path, [("4", "5")])
    message = refused(corpus, "train", TokenizerPair(Numbers(), Numbers()), a_config(tmp_path))
    assert f"cannot write the cache folder {tmp_path / 'cache'}" in message and "$TRANSFORMER_CACHE" in message


def test_the_cache_folder_is_the_configs_then_the_environments(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_CACHE", str(tmp_path))
    assert pipeline.cache_folder(Config().data) == tmp_path
    assert pipeline.cache_folder(a_config(tmp_path).data) == tmp_path / "cache"
    monkeypatch.delenv("TRANSFORMER_CACHE")
    assert pipeline.cache_folder(Config().data) == Path.home() / ".cache" / "transformer"


def test_the_corpus_is_never_held_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "PAIRS_PER_CALL", 8)
    monkeypatch.setattr(pipeline, "PAIRS_PER_SHARD", 16)
    tokenizer, config = Numbers(), a_config(tmp_path, shuffle_buffer=16)
    corpus = write_corpus(tmp_path, unlike_pairs(100))
    read, ahead = 0, []
    original = corpus.pairs

    def pairs(split):
        nonlocal read
        for pair in original(split):
            read += 1
            ahead.append(read - sum(tokenizer.calls) // 2)  # both sides are tokenised
            yield pair

    monkeypatch.setattr(corpus, "pairs", pairs)
    shards = tokenised_shards(corpus, "train", TokenizerPair(tokenizer, tokenizer), config)
    assert read == 100 and max(ahead) <= 8 and max(tokenizer.calls) == 8
    assert len(shards.paths) == 7
    # The first batch comes without the last shard being there at all.
    Path(shards.paths[-1]).unlink()
    stream = iter(batches(shards, config.data))
    next(stream)
    with pytest.raises(tf.errors.NotFoundError):
        list(stream)
