"""What holds for every task: padding counts for nothing, and a batch is the same whenever it is made."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from tiny_run import contrastive, denoising, fine_tuning, language_model, masked_model, tiny_config, write_corpus

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.presets import FINE_TUNED
from transformer.data.batches import batches
from transformer.system.errors import UserError
from transformer.tasks import load_task, task_class
from transformer.tasks.base import Task
from transformer.training.preparation import stored_rows
from transformer.training.trainer import train

TOY = f"{ROOT}/tests/tasks/toy_task.py:Toy"
EXAMPLE = f"{ROOT}/examples/new_task.py:LanguageIdentification"


def texts(folder):
    """Write a file for the example: short texts of two languages."""
    lines = [f"{text}\t{language}" for n in range(1, 30) for text, language in (("ab" * n, "xx"), ("cde" * n, "yy"))]
    (folder / "texts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"train": [str(folder / "texts.tsv")]}


def config_of(name, folder):
    """Return a config of a task; nothing in it is random but what `batch` draws."""
    if name == "translation":
        return tiny_config(folder, write_corpus(folder, 40), model={"dropout_rate": 0.0})
    if name == "language-model":
        return language_model(folder, model={"dropout_rate": 0.0})
    if name == "masked-lm":
        return masked_model(folder, model={"dropout_rate": 0.0})
    if name == "contrastive":
        return contrastive(folder, model={"dropout_rate": 0.0})
    if name == "denoising":
        return denoising(folder, model={"dropout_rate": 0.0})
    if name in FINE_TUNED:
        return fine_tuning(folder, name, model={"dropout_rate": 0.0})
    kind = load_task({"toy": TOY, "language_identification": EXAMPLE}[name])
    data = texts(folder) if name == "language_identification" else {}
    config = tiny_config(folder, model={"dropout_rate": 0.0, "embeddings": "target"}, task={"name": kind.name})
    return config.override({"data": data})


@pytest.fixture(
    scope="module",
    params=[
        "translation",
        "language-model",
        "masked-lm",
        "denoising",
        "contrastive",
        *FINE_TUNED,
        "toy",
        "language_identification",
    ],
)
def prepared(request, tmp_path_factory):
    """Return a task, the rows of its training split, and its network."""
    config = config_of(request.param, tmp_path_factory.mktemp(request.param))
    kind = task_class(config.task.name)
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    return task, stored_rows(corpus, "train", task), task.network("float32")


def first_batch(task, shards):
    """Return a batch with more than one row, of different lengths."""
    return next(b for b in batches(shards, task, task.config.data, seed=1) if len(next(iter(b.values()))) > 2)


def losses(task, network, batch):
    found = task.losses(network, batch, training=False), task.counts(batch)
    return [{part: float(value) for part, value in parts.items()} for parts in found]


def widened(task, batch, rows, width):
    """Return a batch with more rows of zeros, and with more zeros behind each row."""
    wider = {}
    for name, feature in batch.items():
        open_axes = [width if size is None else 0 for size in task.features[name].shape[1:]]
        wider[name] = tf.pad(feature, [[0, rows], *([0, size] for size in open_axes)])
    return wider


def test_features_are_as_they_are_declared(prepared):
    task, shards, _ = prepared
    assert isinstance(task, Task)
    for batch in batches(shards, task, task.config.data, seed=1):
        assert batch.keys() == task.features.keys()
        for name, spec in task.features.items():
            assert spec.is_compatible_with(batch[name]), name


@pytest.mark.parametrize("rows, width", [(1, 0), (3, 0), (0, 4), (2, 8)])
def test_padding_counts_for_nothing(prepared, rows, width):
    task, shards, network = prepared
    batch = first_batch(task, shards)
    ours, theirs = (losses(task, network, b) for b in (widened(task, batch, rows, width), batch))
    assert ours[1] == theirs[1] and min(theirs[1].values()) > 0
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)


def test_a_batch_of_zeros_costs_nothing(prepared):
    task, shards, network = prepared
    nothing = {name: tf.zeros_like(feature) for name, feature in first_batch(task, shards).items()}
    for parts in losses(task, network, nothing):
        assert set(parts.values()) == {0.0}


def test_losses_and_counts_are_sums_over_rows(prepared):
    task, shards, network = prepared
    if not task.rows_stand_alone:
        pytest.skip("a row's loss depends on the others")
    batch = first_batch(task, shards)
    size = len(next(iter(batch.values())))
    every = [losses(task, network, {name: f[i : i + 1] for name, f in batch.items()}) for i in range(size)]
    whole = losses(task, network, batch)
    for which in (0, 1):
        sums = {part: sum(parts[which][part] for parts in every) for part in whole[which]}
        assert whole[which] == pytest.approx(sums, rel=1e-5)


@pytest.mark.slow  # five pipelines for each task
def test_a_batch_is_pure_in_its_seed(prepared):
    task, shards, _ = prepared

    def epoch(number, seed=1, skip=0):
        found = batches(shards, task, task.config.data, seed, number).skip(skip)
        return [{name: feature.numpy().tolist() for name, feature in batch.items()} for batch in found]

    first = epoch(0)
    assert epoch(0) == first and epoch(0, skip=2) == first[2:]
    assert epoch(1) != first and epoch(0, seed=2) != first


def test_noise_differs_between_batches_and_epochs(tmp_path):
    config = config_of("toy", tmp_path)
    task = task_class("toy")(config, None, {})
    record = {"ids": tf.ragged.constant([[5] * 50], tf.int32), "label": tf.ragged.constant([[1]], tf.int32)}
    noise = [task.batch(record, tf.constant(seed, tf.int64))["noisy"].numpy() for seed in ([1, 0], [1, 1], [2, 0])]
    assert all((one != other).any() for one, other in ((noise[0], noise[1]), (noise[0], noise[2])))
    again = task.batch(record, tf.constant([1, 0], tf.int64))["noisy"].numpy()
    np.testing.assert_array_equal(again, noise[0])


def refused(place):
    with pytest.raises(UserError) as error:
        load_task(str(place))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_holds_no_task_is_told(tmp_path):
    file = tmp_path / "mine.py"
    assert "name a file and a class in it" in refused(file)
    assert f"cannot read {file}: No such file or directory" in refused(f"{file}:Mine")
    file.write_text("x = 1\n\n1 / 0\n")
    assert f"ZeroDivisionError in line 3 of {file}: division by zero" in refused(f"{file}:Mine")
    file.write_text("def f(:\n")
    assert f"SyntaxError of {file}: " in refused(f"{file}:Mine") or "SyntaxError" in refused(f"{file}:Mine")
    file.write_text("class Mine: pass\n")
    assert "class Other is not in it" in refused(f"{file}:Other")
    assert "class Mine is no subclass of transformer.tasks.base.Task" in refused(f"{file}:Mine")
    file.write_text("from transformer.tasks.base import Task\nclass Mine(Task): pass\n")
    assert "class Mine has no batch, counts, encode" in refused(f"{file}:Mine")
    file.write_text("from transformer.tasks.translation import Translation\nclass Mine(Translation): pass\n")
    assert "'translation' is a task of the package" in refused(f"{file}:Mine")
    file.write_text('from transformer.tasks.translation import Translation\nclass Mine(Translation): name = "mine"\n')
    assert "Settings of task 'mine' must be a dataclass that begins with name: str = 'mine'" in refused(f"{file}:Mine")
    (tmp_path / "mine.txt").write_text("")
    assert "is no Python file" in refused(f"{tmp_path / 'mine.txt'}:Mine")


def test_an_unknown_task_is_told():
    with pytest.raises(UserError, match="unknown task 'transaltion'.*Did you mean 'translation'.*--task FILE:CLASS"):
        task_class("transaltion")


def test_the_worked_example_learns(tmp_path):
    config = config_of("language_identification", tmp_path)
    length = {"max_steps": 30, "validate_every": 30, "score_examples": 5, "average_checkpoints": 0}
    recipe = {"schedule": "inverse_sqrt", "peak_learning_rate": 0.02, "warmup_steps": 3}
    run = RunDirectory(tmp_path / "run")
    train(config.override({"training": {**recipe, **length}}), run.path)
    task, network = load(run)
    assert task.predict(network, ["abab", "cdecde", "ab"]) == ["xx", "yy", "xx"]
