"""What a run tells of itself."""

import json
import sys

import pytest
import tensorflow as tf

from transformer.checkpoints.run_directory import RunDirectory
from transformer.system.errors import UserError
from transformer.training.metrics_log import Metrics, check_tensorboard

RECORDS = [{"event": "train", "step": 5, "loss": 2.5}, {"event": "validation", "step": 6, "loss": 2.0, "bleu": 7.5}]


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def test_records_are_lines_of_json_and_those_behind_the_step_are_dropped(run):
    metrics = Metrics(run, tensorboard=False, step=0)
    for record in RECORDS:
        metrics.write(record)
    assert [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()] == RECORDS
    Metrics(run, tensorboard=False, step=5)
    assert [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()] == RECORDS[:1]


def test_a_worker_that_is_not_the_chief_writes_nothing(run):
    Metrics(run, tensorboard=True, step=0, writes=False).write(RECORDS[0])
    assert list(run.path.iterdir()) == []


def test_tensorboard_gets_every_number_at_its_step(run):
    metrics = Metrics(run, tensorboard=True, step=0)
    for record in RECORDS:
        metrics.write(record)
    (file,) = (run.path / "tensorboard").iterdir()
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert found == {("train/loss", 5): 2.5, ("validation/loss", 6): 2.0, ("validation/bleu", 6): 7.5}


def test_without_tensorboard_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'transformer-reference\[tensorboard\]'"):
        check_tensorboard()
