"""What is told about a precision that the machine has no products of."""

import types

import pytest
import tensorflow as tf
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.run_directory import RunDirectory
from transformer.training import devices
from transformer.training.trainer import Trainer


@pytest.fixture
def machine(monkeypatch):
    """Return a function that sets the seconds of a product in each precision, by a clock that nothing else moves."""
    now = [0.0]

    def set_seconds(first=0.0, **seconds):
        begun = set()

        def matmul(one, other):
            name = one.dtype.name
            now[0] += seconds[name] + (0.0 if name in begun else first)
            begun.add(name)
            return one

        monkeypatch.setattr(devices, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
        monkeypatch.setattr(devices, "tf", types.SimpleNamespace(ones=tf.ones, matmul=matmul, config=tf.config))

    return set_seconds


def test_products_are_compared_with_those_in_float32(machine):
    machine(float32=2.0, bfloat16=7.0)
    assert devices.matmul_time_ratio("bfloat16") == 3.5
    machine(first=60.0, float32=2.0, float16=1.0)
    assert devices.matmul_time_ratio("float16") == 0.5  # without the first product of each


def test_only_an_emulated_precision_is_told(machine):
    machine(float32=1.0, bfloat16=0.5, float16=3.0)
    assert devices.precision_warnings("bfloat16") == []
    assert devices.precision_warnings("float16") == [
        "this machine emulates float16: a matrix multiplication takes 3.0 times as long as in float32"
    ]


def test_float32_is_not_measured(machine):
    machine()  # a product in any precision would fail
    assert devices.precision_warnings("float32") == []


def test_this_machine_is_measured():
    assert 0 < devices.matmul_time_ratio("bfloat16") < float("inf")


def test_training_begins_with_the_warning(machine, tmp_path, capsys):
    machine(float32=1.0, bfloat16=4.0)
    config = tiny_config(tmp_path, write_corpus(tmp_path), training={"precision": "bfloat16"})
    Trainer(config, RunDirectory(tmp_path / "run"))
    assert "warning: this machine emulates bfloat16: a matrix multiplication takes 4.0 times" in capsys.readouterr().err


@pytest.mark.parametrize(
    "gpus, replicas, workers, cores, told",
    [
        ([], 1, 1, 2, "2 CPU cores"),
        ([], 1, 1, 1, "1 CPU core"),
        (["NVIDIA L4"], 1, 1, 8, "1 GPU (NVIDIA L4)"),
        (["NVIDIA L4"] * 2, 1, 1, 8, "1 GPU (NVIDIA L4)"),  # the second is not used
        (["NVIDIA L4"] * 2, 2, 1, 8, "2 GPUs (NVIDIA L4)"),
        ([""], 1, 1, 8, "1 GPU"),
        (["NVIDIA L4"] * 2, 6, 3, 8, "3 machines with 2 GPUs (NVIDIA L4) each"),
        ([], 2, 2, 4, "2 machines with 4 CPU cores each"),
    ],
)
def test_what_trains_in_words(monkeypatch, gpus, replicas, workers, cores, told):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": gpu} if gpu else {})
    monkeypatch.setattr(devices, "cores", lambda: cores)
    assert devices.devices(types.SimpleNamespace(num_replicas_in_sync=replicas), workers) == told
