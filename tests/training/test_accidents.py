"""What happens outside while a run is at work: folders that vanish, files that change, disks that are full."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from safetensors import safe_open
from shared_graphs import Trainer, give_back
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.run_directory import BEST, LAST, RunDirectory
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import Found

pytestmark = pytest.mark.slow  # runs are trained, disturbed and resumed

LENGTH = {"max_steps": 12, "validate_every": 4, "log_every": 5}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The settings of an undisturbed run, its folder and its last weights."""
    folder = tmp_path_factory.mktemp("whole")
    config = tiny_config(folder, write_corpus(folder), model={"dropout_rate": 0.2}, training=LENGTH)
    trainer = Trainer(config, RunDirectory(folder / "run"))
    trainer.train()
    return trainer


@pytest.fixture
def make(whole, tmp_path):
    """Return a function that makes a trainer of that run on files of its own, or goes on with the one there is."""

    def make_trainer(**changes):
        give_back()  # whoever trained before has ended
        if not (tmp_path / "train.pt").exists():
            write_corpus(tmp_path)
        files = {split: [str(tmp_path / f"{split}.{code}") for code in ("pt", "en")] for split in ("train", "valid")}
        config = whole.config.override({"data": {**files, "cache": str(tmp_path / "cache")}}).override(changes)
        return Trainer(config, RunDirectory(tmp_path / "run"))

    return make_trainer


def at(trainer, step, accident):
    """Let something happen just before a step."""
    train = trainer.steps.train

    def train_step(batches):
        if trainer.state.step + 1 == step:
            accident()
        return train(batches)

    trainer.steps.train = train_step


def failure(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def same_end(one, other):
    for which in (LAST, BEST):
        with (
            safe_open(str(one.run.weights(which)), framework="numpy") as left,
            safe_open(str(other.run.weights(which)), framework="numpy") as right,
        ):
            for name in left.keys():
                np.testing.assert_array_equal(left.get_tensor(name), right.get_tensor(name), err_msg=name)


def shards_of(trainer, split="train"):
    shards = trainer.data.shards if split == "train" else trainer.data.validation_shards
    return [Path(path) for path in shards.paths]


def damage(paths):
    for path in paths:
        content = path.read_bytes()
        path.write_bytes(content[:40] + b"~~" + content[42:])


# What is left for the slow run trains, is disturbed and resumed as the others are.
@pytest.mark.parametrize("how", ["folder", "torn"])
def test_sentences_that_vanish_between_two_epochs_are_told_and_made_again(make, whole, tmp_path, how):
    trainer = make()

    folder = shards_of(trainer)[0].parent
    at(trainer, 2, lambda: shutil.rmtree(folder) if how == "folder" else damage(shards_of(trainer)))
    message = failure(trainer.train)
    step = trainer.state.step
    assert 4 < step < 12
    assert message == (
        f"the encoded examples in {folder} have been removed or damaged, and are made again; "
        f"the same command goes on from step {step}"
    )
    resumed = make()
    assert resumed.state.step == step  # what was done is not lost, however long ago the last validation was
    assert resumed.train().step == 12
    same_end(resumed, whole)


def test_validation_sentences_that_vanish(make, whole):
    trainer = make()
    at(trainer, 6, lambda: shards_of(trainer, "validation")[0].unlink())
    assert failure(trainer.train).endswith(" and are made again; the same command goes on from step 4")
    resumed = make()
    resumed.train()
    same_end(resumed, whole)


def test_validation_text_that_changes_during_a_run_changes_no_score(make, tmp_path):
    trainer = make(training={"score_examples": 8})
    path = tmp_path / "valid.en"
    text = path.read_text(encoding="utf-8")
    right = text.splitlines()[:8]
    trainer.data.task.search = lambda network, texts, search: [Found(line, -1.0, 3, 3) for line in right]
    trainer.run.unlock()
    for other, told in ((text[:20], "has no counterpart"), ("moon\n" * text.count("\n"), "another corpus")):
        path.write_text(other, encoding="utf-8")
        assert trainer.validation.score(trainer.state)["bleu"] == pytest.approx(100)
        trainer.save()  # a run that can be continued
        assert told in failure(make)


def test_a_run_directory_that_is_removed(make, tmp_path):
    trainer = make()
    at(trainer, 6, lambda: shutil.rmtree(tmp_path / "run"))
    message = failure(trainer.train)
    assert message == f"run directory {tmp_path / 'run'} has been removed; the same command begins it anew"


@pytest.mark.parametrize("name", ["config.json", "corpus.json", "tokenizer"])
def test_a_run_directory_whose_files_are_removed(make, tmp_path, name):
    trainer, path = make(), tmp_path / "run" / name
    at(trainer, 6, lambda: shutil.rmtree(path) if path.is_dir() else path.unlink())
    told = "has been removed; remove what is left of it, and the same command begins it anew"
    assert failure(trainer.train) == f"run directory {tmp_path / 'run'} {told}"


def test_metrics_that_are_removed_are_begun_anew(make, whole):
    trainer = make()
    at(trainer, 6, lambda: trainer.run.metrics.unlink())
    assert trainer.train().step == 12
    assert [json.loads(line)["step"] for line in trainer.run.metrics.read_text().splitlines()] == [8, 10, 12, 12]
    same_end(trainer, whole)


def test_a_full_disk_loses_nothing(make, whole, monkeypatch):
    trainer, write, full_at = make(), os.fsync, 8

    def fsync(handle):
        if trainer.state.step >= full_at:
            raise OSError(28, "No space left on device")
        write(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    message = failure(trainer.train)
    monkeypatch.undo()
    assert "No space left on device; free space" in message
    assert message.endswith(f"; the same command goes on from step {full_at - 4}")
    assert not list(trainer.run.path.glob(".*"))
    resumed = make()
    assert resumed.state.step == full_at - 4
    resumed.train()
    same_end(resumed, whole)


def test_tensorboard_files_that_cannot_be_written(make, tmp_path, monkeypatch):
    trainer = make(training={"tensorboard": True})

    def refuse(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.summary, "scalar", refuse)
    assert failure(trainer.train) == (
        f"cannot write {tmp_path / 'run' / 'tensorboard'}: No space left on device; free space; "
        "the same command goes on from step 0"
    )
