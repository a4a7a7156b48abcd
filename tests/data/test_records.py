"""Tokenised shards: cleaned, made once, made again when anything changes, and never half."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from number_corpus import Numbers, a_config, a_task, unlike_pairs, write_corpus

from transformer.config.run import Config
from transformer.data import records
from transformer.data.batches import batches, streamed
from transformer.data.examples.corpus import FileCorpus
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.system.errors import EnvironmentFailure, UserError
from transformer.system.files import cache_folder
from transformer.tasks.translation import CleanedPairs
from transformer.training.preparation import stored_rows


def test_training_pairs_are_cleaned_and_validation_pairs_are_not(tmp_path):
    doubled = [("4", "5"), ("4", "5"), ("", "6")]
    corpus = write_corpus(tmp_path, doubled, doubled)
    config = a_config(tmp_path)
    assert list(corpus.examples("train")) == [("4", "5")]
    report = corpus.report
    assert (report.read, report.kept, report.removed["drop_empty"], report.removed["drop_duplicates"]) == (3, 1, 1, 1)
    assert list(corpus.examples("validation")) == doubled
    task = a_task(config)
    assert "kept 1 of 3 pairs" in stored_rows(corpus, "train", task).summary
    validation = stored_rows(corpus, "validation", task)
    assert (validation.rows, validation.summary) == (3, "not cleaned")
    batch, *_ = batches(validation, task, config.data)
    assert [START_ID, END_ID, PAD_ID, PAD_ID] in batch["source_ids"].numpy().tolist()  # the empty source stays a row


def test_a_sample_is_drawn_before_it_is_cleaned(tmp_path):
    corpus = write_corpus(tmp_path, unlike_pairs(50))
    whole = list(corpus.examples("train"))
    sample = list(corpus.examples("train", sample=10))
    assert corpus.report.read == 10 and len(set(sample)) == 10 and set(sample) < set(whole)
    assert sample == list(corpus.examples("train", sample=10))
    assert list(corpus.examples("train", sample=50)) == whole


def refused(*arguments):
    with pytest.raises(UserError) as error:
        stored_rows(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_corpus_without_a_pair_left_is_refused(tmp_path):
    corpus = write_corpus(tmp_path, [("4 5 6", "4"), ("4 5 6 7", "5")])
    strict = a_config(tmp_path, {"max_words": 2})
    message = refused(CleanedPairs(corpus.corpus, strict.cleaning), "train", a_task(strict))
    assert "no pair of train.a + train.b passed the cleaning" in message
    assert "max_words removed 2" in message and "Relax [cleaning]" in message
    message = refused(corpus, "train", a_task(a_config(tmp_path, max_tokens=4)))
    assert "no train example" in message and "2 too long. Raise data.max_tokens (now 4)" in message
    few = FileCorpus({"train": corpus.corpus._files["train"]}, "en", "de", 10)  # too few to give any away
    message = refused(CleanedPairs(few, strict.cleaning), "validation", a_task(strict))
    assert "Give validation files (data.valid)" in message


@pytest.fixture
def counted(monkeypatch):
    """Count how often shards are written."""
    written = []
    original = records._write_shards
    monkeypatch.setattr(records, "_write_shards", lambda *a: (written.append(a[0]), original(*a)))
    return written


def test_shards_are_made_once_and_again_when_what_they_hold_changes(tmp_path, counted):
    config = a_config(tmp_path)
    corpus = write_corpus(tmp_path, unlike_pairs(20))
    shards = stored_rows(corpus, "train", a_task(config))
    same = [config, a_config(tmp_path, length_step=2), a_config(tmp_path, batch_tokens=100, shuffle_buffer=5)]
    for again in same:
        assert stored_rows(corpus, "train", a_task(again)) == shards
    assert len(counted) == 1
    stored_rows(corpus, "validation", a_task(config))
    stored_rows(corpus, "train", a_task(config, Numbers(), Numbers(b"other")))
    stored_rows(corpus, "train", a_task(a_config(tmp_path, {"max_words": 9})))
    stored_rows(corpus, "train", a_task(a_config(tmp_path, max_tokens=11)))
    changed = a_task(config)
    changed.version = "2"  # of a user's own file
    stored_rows(corpus, "train", changed)
    stored_rows(write_corpus(tmp_path, unlike_pairs(20, seed=1)), "train", a_task(config))
    assert len(counted) == 7


@pytest.mark.parametrize(
    "damage",
    ["no summary", "no shard", "half a summary", "another summary", "deep", "cut", "another byte", "empty"]
    + [
        {"rows": "x"},
        {"rows": None},
        {"rows": -5},
        {"left_out": [1]},
        {"left_out": {"too long": "x"}},
        {"sizes": 3},
        {"paths": ["../x"]},
    ],
)
def test_shards_that_are_not_complete_are_made_again(tmp_path, counted, damage):
    arguments = write_corpus(tmp_path, [("4", "5")]), "train", a_task(a_config(tmp_path))
    shards = stored_rows(*arguments)
    summary = Path(shards.paths[0]).parent / "summary.json"
    if damage == "no summary":
        summary.unlink()
    elif damage == "no shard":
        Path(shards.paths[0]).unlink()
    elif damage in ("cut", "another byte", "empty"):
        content = Path(shards.paths[0]).read_bytes()
        changed = {"cut": content[:-5], "another byte": content[:20] + b"~" + content[21:], "empty": b""}
        Path(shards.paths[0]).write_bytes(changed[damage])
    elif isinstance(damage, dict):
        summary.write_text(json.dumps({**json.loads(summary.read_text()), **damage}))
    elif damage == "deep":
        summary.write_text("[" * 100_000)
    elif damage == "half a summary":
        summary.write_text(summary.read_text()[:20])
    else:
        summary.write_text(json.dumps({"paths": []}))
    assert stored_rows(*arguments) == shards
    assert len(counted) == 2 and Path(shards.paths[0]).exists()
    stored_rows(*arguments)
    assert len(counted) == 2


def test_a_process_that_fails_half_way_leaves_no_shards(tmp_path, monkeypatch):
    arguments = write_corpus(tmp_path, [("4", "5")]), "train", a_task(a_config(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(records, "encode_records", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stored_rows(*arguments)
    assert list((tmp_path / "cache").iterdir()) == []
    # What a killed process leaves, a folder under its temporary name, is not taken for shards.
    shards = stored_rows(*arguments)
    folder = Path(shards.paths[0]).parent
    folder.rename(folder.with_name(folder.name + ".killed"))
    assert stored_rows(*arguments) == shards and folder.is_dir()


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    corpus = write_corpus(tmp_path, [("4", "5")])
    message = refused(corpus, "train", a_task(a_config(tmp_path)))
    assert f"cannot write the cache folder {tmp_path / 'cache'}" in message and "$TRANSFORMER_CACHE" in message


def test_shards_that_vanish_as_soon_as_they_are_made_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "rename", lambda draft, folder: shutil.rmtree(draft))
    corpus = write_corpus(tmp_path, [("4", "5")])
    message = refused(corpus, "train", a_task(a_config(tmp_path)))
    assert f"cannot write the cache folder {tmp_path / 'cache'} (what was just written has been removed)" in message


def test_the_cache_folder_is_the_configs_then_the_environments(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_CACHE", str(tmp_path))
    assert cache_folder(Config().data.cache) == tmp_path
    assert cache_folder(a_config(tmp_path).data.cache) == tmp_path / "cache"
    monkeypatch.delenv("TRANSFORMER_CACHE")
    for folders, expected in (("", Path.home() / ".cache"), ("relative", Path.home() / ".cache"), (tmp_path, tmp_path)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(folders))
        assert cache_folder(Config().data.cache) == expected / "transformer"


def test_a_user_without_a_home_folder_is_told(monkeypatch):
    for name in ("TRANSFORMER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user whom the machine does not know
    with pytest.raises(
        UserError, match=r"^there is no home folder for ~/.cache/transformer; name .* \$TRANSFORMER_CACHE"
    ):
        cache_folder(Config().data.cache)


def test_the_corpus_is_never_held_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROWS_PER_SHARD", 16)
    tokenizer, config = Numbers(), a_config(tmp_path, shuffle_buffer=16)
    corpus = write_corpus(tmp_path, unlike_pairs(100))
    read, ahead = 0, []
    original, task = corpus.examples, a_task(config, tokenizer, tokenizer)
    monkeypatch.setattr(type(task), "examples_together", 8)

    def examples(split):
        nonlocal read
        for pair in original(split):
            read += 1
            ahead.append(read - sum(tokenizer.calls) // 2)  # both sides are tokenised
            yield pair

    monkeypatch.setattr(corpus, "examples", examples)
    shards = stored_rows(corpus, "train", task)
    assert read == 100 and max(tokenizer.calls) == 8
    assert max(ahead) <= 8 * 4  # one chunk is being read, three are waiting for the tokenizer's two threads
    assert len(shards.paths) == 7
    # The first batch comes without the last shard being there at all.
    Path(shards.paths[-1]).unlink()
    stream = iter(batches(shards, task, config.data))
    next(stream)
    with pytest.raises(tf.errors.NotFoundError):
        list(stream)


@pytest.mark.parametrize("damage", ["removed", "cut", "empty", "another byte"])
def test_shards_that_are_lost_while_they_are_read_are_told(tmp_path, damage):
    config = a_config(tmp_path)
    corpus = write_corpus(tmp_path, unlike_pairs(20))
    task = a_task(config)
    shards = stored_rows(corpus, "train", task)
    expected = len(list(batches(shards, task, config.data)))
    assert len(list(streamed(batches(shards, task, config.data), shards))) == expected
    path = Path(shards.paths[0])
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-5], "another byte": content[:20] + b"~" + content[21:]}.get(damage, b""))
    if damage == "removed":
        path.unlink()
    with pytest.raises(EnvironmentFailure) as error:
        list(streamed(batches(shards, task, config.data), shards))
    assert str(error.value) == (
        f"the encoded examples in {path.parent} have been removed or damaged, and are made again"
    )
