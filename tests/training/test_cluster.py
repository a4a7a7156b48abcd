"""Many devices and many processes give what one gives."""

import json
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import ROOT
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.run_directory import RunDirectory
from transformer.system.errors import UserError
from transformer.training.cluster import Cluster, cluster_resolver, open_strategy
from transformer.training.trainer import Trainer

STEPS = 20
# Without dropout, whose random numbers differ between replicas; batches of many rows, one of them an odd number.
CHANGES = {
    "model": {"dropout_rate": 0.0},
    "training": {
        "max_steps": STEPS,
        "validate_every": 10,
        "log_every": 1,
        "schedule": "inverse_sqrt",
        "peak_learning_rate": 0.01,
        "clip_norm": 0.5,
    },
}


def losses(run):
    lines = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    return {(line["event"], line["step"]): line["loss"] for line in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def config(folder):
    return tiny_config(folder, write_corpus(folder)).override(CHANGES)


@pytest.fixture(scope="module")
def alone(folder, config):
    """The run of one process on one device."""
    Trainer(config, RunDirectory(folder / "alone")).train()
    return RunDirectory(folder / "alone")


PROCESS = """
import os, signal, sys
import tensorflow as tf
kind, run, config = sys.argv[1:4]
if kind == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
else:
    from transformer.training.cluster import open_strategy
    strategy = open_strategy(kind)
from transformer.config.run import Config
from transformer.training.steps import Steps
if len(sys.argv) > 4:  # the process is killed when it begins this step
    train_step, left = Steps.train, [int(sys.argv[4])]
    def train_or_die(self, batches):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return train_step(self, batches)
    Steps.train = train_or_die
from transformer.system.process import exit_code
from transformer.training.trainer import train
config = Config.from_json(open(config).read())
sys.exit(exit_code(lambda: train(config, run, strategy)))
"""


def start(kind, run, config, task=None, workers=(), die_at=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if task is not None:
        cluster = {"cluster": {"worker": list(workers)}, "task": {"type": "worker", "index": task}}
        environment["TF_CONFIG"] = json.dumps(cluster)
    stored = run.path.parent / f"{run.path.name}.json"
    stored.write_text(config.to_json(), encoding="utf-8")
    command = [sys.executable, "-c", PROCESS, kind, str(run.path), str(stored)]
    command += [] if die_at is None else [str(die_at)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def free_addresses(count):
    """Return addresses of ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def same_curve(run, alone):
    ours, theirs = losses(run), losses(alone)
    assert ours.keys() == theirs.keys()
    for key, loss in theirs.items():
        assert ours[key] == pytest.approx(loss, rel=1e-5), key


@pytest.mark.slow  # a process that traces for two devices, as test_any_task.py has one
def test_two_devices_give_the_loss_curve_of_one(folder, config, alone):
    process = start("mirrored", RunDirectory(folder / "mirrored"), config)
    errors = process.communicate(timeout=300)[1]
    assert process.returncode == 0, errors
    same_curve(RunDirectory(folder / "mirrored"), alone)


@pytest.mark.slow  # three processes, which import TensorFlow and trace steps for two devices
def test_a_run_on_two_devices_is_resumed_exactly_with_dropout(folder, config):
    changes = {"model": {"dropout_rate": 0.3}}
    whole, cut = RunDirectory(folder / "dropout"), RunDirectory(folder / "dropout-cut")
    for run, lengths in ((whole, [STEPS]), (cut, [10, STEPS])):
        for length in lengths:
            process = start("mirrored", run, config.override({**changes, "training": {"max_steps": length}}))
            errors = process.communicate(timeout=300)[1]
            assert process.returncode == 0, errors
    assert losses(whole) == losses(cut)
    assert whole.weights().read_bytes() == cut.weights().read_bytes()


@pytest.fixture(scope="module")
def two(folder, config):
    """A run of two processes, and what they told."""
    run, workers = RunDirectory(folder / "two"), free_addresses(2)
    processes = [start("multiworker", run, config, task, workers) for task in (0, 1)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    return run, errors


@pytest.mark.slow  # two processes, see above
def test_two_processes_give_the_loss_curve_of_one(two, alone):
    run, errors = two
    same_curve(run, alone)
    assert "step 1 " in errors[0] and "step 1 " not in errors[1]  # the chief alone speaks and writes


@pytest.mark.slow  # four more processes
def test_a_killed_worker_ends_the_job_which_then_resumes_exactly(folder, config, two):
    run, workers = RunDirectory(folder / "killed"), free_addresses(2)
    processes = [start("multiworker", run, config, task, workers, die_at=(None, 16)[task]) for task in (0, 1)]
    _, told = (process.communicate(timeout=300)[1] for process in reversed(processes))
    assert [process.returncode for process in processes] == [1, -signal.SIGKILL]
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("error: another worker was lost at step 15 (")
    workers = free_addresses(2)
    processes = [start("multiworker", run, config, task, workers) for task in (0, 1)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert "continuing at step 10" in errors[0]
    assert losses(run) == losses(two[0])
    assert run.weights().read_bytes() == two[0].weights().read_bytes()


@pytest.mark.slow  # two more processes
def test_a_killed_chief_ends_the_job_too(folder, config):
    run, workers = RunDirectory(folder / "headless"), free_addresses(2)
    processes = [start("multiworker", run, config, task, workers, die_at=(3, None)[task]) for task in (0, 1)]
    _, told = (process.communicate(timeout=300)[1] for process in processes)
    assert [process.returncode for process in processes] == [-signal.SIGKILL, 1]
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("error: another worker was lost at step 2 (")


def test_slurms_variables_describe_the_machines(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    variables = {"PROCID": "2", "STEP_NUM_TASKS": "3", "STEP_NODELIST": "node[1-2]", "STEP_TASKS_PER_NODE": "2,1"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    resolver = cluster_resolver()
    assert resolver.cluster_spec().as_dict() == {"worker": ["node1:8888", "node1:8889", "node2:8888"]}
    assert resolver.get_task_info() == ("worker", 2)
    chief = Cluster(SimpleNamespace(cluster_resolver=resolver))
    assert (chief.workers, chief.chief) == (3, False)


@pytest.mark.parametrize(
    "description, words",
    [
        (None, "set TF_CONFIG, or start it with srun"),
        ("{}", "are not described well"),
        ("not JSON", "are not described well"),
    ],
)
def test_machines_that_are_not_described_are_told(monkeypatch, description, words):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    monkeypatch.setenv("TF_CONFIG", description or "")
    with pytest.raises(UserError, match=words):
        open_strategy("multiworker")


def test_time_limits_do_not_go_with_several_workers(folder, config, monkeypatch):
    monkeypatch.setattr("transformer.training.trainer.Cluster", lambda _: SimpleNamespace(workers=2, chief=True))
    with pytest.raises(UserError, match="max_minutes does not go with several workers.*set max_steps"):
        Trainer(config.override({"training": {"max_minutes": 1.0}}), RunDirectory(folder / "timed"))
    assert not (folder / "timed").exists()
