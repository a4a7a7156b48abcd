"""Contrastive learning as a task: what a batch holds, what is refused, and that the trainer carries it."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from reference import randomised
from tiny_run import contrastive, pairs, spread_parts, tiny_config, write_run

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import train as train_command
from transformer.config.flags import resolve
from transformer.config.run import Config
from transformer.data import phrasebook
from transformer.data.batches import batches
from transformer.models.bert import BertEncoder
from transformer.models.sentence_encoder import BagOfVectors, SentenceEncoder
from transformer.models.stacks import Encoder
from transformer.system.errors import UserError
from transformer.tasks import task_class
from transformer.tasks.text_vectors import encode_texts
from transformer.training.trainer import Trainer

KIND = task_class("contrastive")


def opened(config):
    corpus = KIND.read(config)
    corpus.check()
    return corpus, KIND(config, KIND.learn(corpus, config), corpus.describe())


def built(network):
    network.build()
    return randomised(network)


def record(task, examples):
    columns = task.encode(examples).columns
    return {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return opened(contrastive(tmp_path_factory.mktemp("task")))[1]


def test_a_batch_holds_both_texts_and_tells_equal_ones(task):
    examples = [("um sol", "one sun"), ("um sol", "sun one"), ("lua", "moon"), ("", "sea")]
    rows = task.encode(examples)
    assert rows.left_out == {"without text": 1}
    batch = task.batch(record(task, examples), tf.constant([0, 0], tf.int64))
    assert batch["first"].shape[0] == 3 and (batch["first"][:, 0].numpy() == 2).all()
    keys = batch["keys"].numpy()
    assert keys[0, 0] == keys[1, 0] and len(set(keys.flatten())) == 5 and (keys > 0).all()
    assert {name: float(count) for name, count in task.counts(batch).items()} == {"pair": 3.0}


def test_a_row_of_zeros_counts_for_nothing(task):
    network = randomised(task.network("float32"))
    batch = task.batch(record(task, pairs(5)), tf.constant([0, 0], tf.int64))
    padded = {name: tf.pad(feature, [[0, 3], [0, 0]]) for name, feature in batch.items()}
    wider = {**padded, "first": tf.pad(padded["first"], [[0, 0], [0, 4]])}
    losses = [float(task.losses(network, b, False)["pair"]) for b in (batch, padded, wider)]
    assert losses[0] > 0 and losses == pytest.approx([losses[0]] * 3, rel=1e-5)
    assert float(task.counts(padded)["pair"]) == 5


@pytest.mark.parametrize("pooling", ["mean", "first", "max"])
def test_pooling_reads_real_tokens_alone(pooling):
    encoder = BertEncoder(1, 8, 2, 16, 20, 12, pooler=False)
    network = built(SentenceEncoder(encoder, pooling))
    ids = np.array([[2, 5, 7, 3, 0, 0], [2, 6, 3, 0, 0, 0], [0] * 6])
    states = encoder(tf.constant(ids), training=False).numpy()
    real = [states[0, :4], states[1, :3]]
    by_hand = {
        "mean": [r.mean(0) for r in real],
        "first": [r[0] for r in real],
        "max": [r.max(0) for r in real],
    }
    ours = network(tf.constant(ids), training=False).numpy()
    np.testing.assert_allclose(ours, [*by_hand[pooling], np.zeros(8)], rtol=1e-5, atol=1e-6)


def test_a_projection_is_a_dense_layer_and_survives_its_config():
    network = built(SentenceEncoder(BertEncoder(1, 8, 2, 16, 20, 12, pooler=False), projection=3))
    ids = tf.constant([[2, 5, 3]])
    pooled = network.encoder(ids, training=False).numpy().mean(1)
    kernel, bias = (w.numpy() for w in network.projection.trainable_variables)
    np.testing.assert_allclose(network(ids, training=False), pooled @ kernel + bias, rtol=1e-5)
    again = SentenceEncoder.from_config(network.get_config())
    assert (again.size, again.pooling) == (3, "mean")


def test_a_bag_is_the_mean_of_its_words_vectors():
    network = built(SentenceEncoder(BagOfVectors(20, 4)))
    table = network.encoder.embedding.embeddings.numpy()
    ids = np.array([[2, 5, 7, 3], [2, 6, 3, 0]])
    ours = network(tf.constant(ids), training=False).numpy()
    # The vectors are scaled by sqrt(4); start and end are rows of 0.
    np.testing.assert_allclose(ours, [2 * (table[5] + table[7]) / 4, 2 * table[6] / 3], rtol=1e-5)


def test_the_final_norm_of_a_pooled_vector_lets_long_states_count_more():
    """Layers that add nothing leave the embeddings: the vector is the norm of their mean, not the mean of norms."""
    encoder = Encoder(1, 8, 2, 16, 20, 12, norm_first=True)
    network = built(SentenceEncoder(encoder, norm_pooled=True))
    for weight in network.trainable_variables:
        if any(name in weight.path for name in ("mha/dense", "ffn/outer")):
            weight.assign(np.zeros(weight.shape))
    ids = tf.constant([[2, 5, 7, 3, 0]])
    mean = encoder.embed(ids, training=False).numpy()[0, :4].mean(axis=0)
    gamma, beta = encoder.final_norm.gamma.numpy(), encoder.final_norm.beta.numpy()
    expected = gamma * (mean - mean.mean()) / np.sqrt(mean.var() + 1e-6) + beta
    np.testing.assert_allclose(network(ids, training=False)[0], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="norm_pooled must be False without norm_first"):
        SentenceEncoder(Encoder(1, 8, 2, 16, 20, 12), norm_pooled=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"max_tokens": 24, "batch_tokens": 40}}, "holds one pair of 24 tokens, which has no negatives"),
        ({"task": {"temperature": 0.0}}, "temperature must be from 0.001 to 100, got 0.0"),
        ({"task": {"sizes": ["17"]}}, "task.sizes must be at most 16"),
        ({"task": {"sizes": ["a"]}}, "sizes must be whole numbers in quotes"),
        ({"task": {"encoder": "transformer"}, "model": {"norm": "rms"}}, "model.norm goes with task.encoder = 'bert'"),
        ({"task": {"norm_pooled": True}}, "needs an encoder with model.norm_first = true"),
        ({"task": {"examples": "sentences"}, "data": {"train": [], "valid": [], "dataset": "a/b"}}, "holds pairs"),
    ],
)
def test_what_cannot_be_trained_is_told(tmp_path, changes, told):
    with pytest.raises(UserError, match=told):
        opened(contrastive(tmp_path, **changes))


def test_one_pair_alone_is_refused(tmp_path):
    (tmp_path / "one.tsv").write_text("um sol\tone sun\n", encoding="utf-8")
    data = {"train": [str(tmp_path / "one.tsv")], "valid": []}
    with pytest.raises(UserError, match="one.tsv has one pair to train on, which has no negatives"):
        opened(contrastive(tmp_path, data=data))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a\tb\n", "line 1: 2 columns; expected text TAB positive TAB hard negative"),
        ("a\tb\tc\nd\t\te\n", "line 2: a text or its positive is empty"),
        ("\n\n", "holds no example"),
    ],
)
def test_bad_triplets_are_told_with_their_line(tmp_path, content, told):
    (tmp_path / "bad.tsv").write_text(content, encoding="utf-8")
    data = {"train": [str(tmp_path / "bad.tsv")], "valid": []}
    with pytest.raises(UserError, match=told):
        opened(contrastive(tmp_path, data=data, task={"examples": "triplets"}))


def test_triplets_have_a_hard_negative_or_none(tmp_path):
    (tmp_path / "three.tsv").write_text("um sol\tone sun\ttwo sun\nmar\tsea\t\n", encoding="utf-8")
    data = {"train": [str(tmp_path / "three.tsv")], "valid": []}
    corpus, task = opened(contrastive(tmp_path, data=data, task={"examples": "triplets"}))
    batch = task.batch(record(task, list(corpus.examples("train"))), tf.constant([0, 0], tf.int64))
    assert batch["keys"].shape == (2, 3) and batch["keys"][1, 2] == 0 and not batch["negative"][1].numpy().any()
    network = randomised(task.network("float32"))
    assert np.isfinite(float(task.losses(network, batch, True)["pair"]))


def test_one_sentence_twice_differs_by_dropout_alone(tmp_path):
    (tmp_path / "lines.txt").write_text("one sun\n\ntwo seas\nmoon\n", encoding="utf-8")
    data = {"train": [str(tmp_path / "lines.txt")], "valid": []}
    corpus, task = opened(contrastive(tmp_path, data=data, task={"examples": "sentences"}))
    examples = list(corpus.examples("train"))
    assert [example.texts for example in examples] == [(t, t) for t in ("one sun", "two seas", "moon")]
    assert not task.figures  # every text finds itself
    batch = task.batch(record(task, examples), tf.constant([0, 0], tf.int64))
    network = randomised(task.network("float32"))
    both = [[network(batch[side], training=t).numpy() for side in ("first", "second")] for t in (False, True)]
    assert np.allclose(*both[0]) and not np.allclose(*both[1])


def test_a_translators_encoder_begins_with_its_weights_and_ids(tmp_path):
    model, tokenizers = spread_parts()
    other = write_run(tmp_path / "translator", tiny_config(tmp_path, model={"embeddings": "target"}), tokenizers, model)
    changes = {"task": {"encoder": "transformer"}, "training": {"init_from": str(other), "score_examples": 12}}
    config = contrastive(tmp_path, text={"tokenizer": "sentencepiece"}, **changes)
    texts = ["um sol dois", "one moon", ""]
    vocabulary = KIND.adopt(RunDirectory(other).vocabularies, KIND.read(config), config)
    ours = [ids.tolist() for ids in encode_texts(vocabulary.tokenizer, texts)]
    assert ours == tokenizers.source.tokenize(tf.constant(texts)).to_list()
    trainer = Trainer(config, RunDirectory(tmp_path / "run"))
    by_name = {v.path.partition("/")[2]: v.numpy() for v in model.trainable_variables}
    for variable in trainer.model.trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), by_name[variable.path.partition("/")[2]])
    with pytest.raises(UserError, match="add --set task.encoder=transformer"):
        KIND.adopt(RunDirectory(other).vocabularies, KIND.read(config), contrastive(tmp_path))


TRAINING = {
    "schedule": "inverse_sqrt",
    "max_steps": 8,
    "validate_every": 4,
    "score_examples": 12,
    "log_every": 1,
    "peak_learning_rate": 0.01,
}


@pytest.mark.slow  # three trainings, one in a process with two devices
def test_two_devices_and_chunks_give_the_curve_of_one(tmp_path):
    """Vectors are gathered, so that each text is compared with those of the other device, too."""
    changes = {"model": {"dropout_rate": 0.0, "use_bias": False}, "training": TRAINING}
    config = contrastive(tmp_path, **changes)
    alone = Trainer(config, RunDirectory(tmp_path / "alone"))
    sizes = {len(b["keys"]) for b in batches(alone.data.shards, alone.data.task, config.data, seed=3)}
    assert any(size % 2 for size in sizes)  # devices with unequal shares
    alone.train()
    stored = tmp_path / "config.json"
    stored.write_text(config.to_json(), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROCESS, str(stored), str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    chunked = contrastive(tmp_path, **{**changes, "task": {"chunk_rows": 3}})
    Trainer(chunked, RunDirectory(tmp_path / "chunks")).train()
    expected = lines_of(tmp_path / "alone")
    for name in ("two", "chunks"):
        ours = lines_of(tmp_path / name)
        assert len(ours) == len(expected) == 10
        for one, other in zip(ours, expected, strict=True):
            for key in {"loss", "gradient_norm", "accuracy"} & other.keys():
                assert one[key] == pytest.approx(other[key], rel=1e-4 if key == "gradient_norm" else 1e-5), name
    task, network = load(RunDirectory(tmp_path / "two"))
    assert len(task.predict(network, ["one sun", ""])) == 2
    assert expected[-1]["accuracy"] > expected[4]["accuracy"] or expected[-1]["loss"] < expected[0]["loss"]


PROCESS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from transformer.config.run import Config
from transformer.training.trainer import train
train(Config.from_json(open(sys.argv[1]).read()), sys.argv[2], tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
"""


def lines_of(run):
    return [json.loads(line) for line in RunDirectory(run).metrics.read_text(encoding="utf-8").splitlines()]


def test_the_settings_survive_json():
    config = Config().override({"task": {"name": "contrastive", "sizes": ["8", "16"]}})
    assert Config.from_json(config.to_json()) == config


def test_a_task_alone_trains_on_the_phrasebook_and_a_start_has_its_own_recipe(tmp_path, monkeypatch):
    few = {split: phrasebook.generate(split)[:20] for split in phrasebook.SPLITS}
    monkeypatch.setattr(phrasebook, "generate", few.__getitem__)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "datasets"))

    def asked(*words):
        return resolve(train_command.parser().parse_args(["--task", "contrastive", *words]))

    config, run = asked()
    assert (config.data.dataset, str(run)) == ("phrasebook/meaning", "runs/phrasebook_meaning")
    assert KIND.read(config).name == "phrasebook/pt_to_en"
    config, _ = asked("--source-language", "en", "--target-language", "zh")
    assert KIND.read(config).name == "phrasebook/en_to_zh"
    scratch, _ = asked("--tsv", "mine.tsv")
    assert (scratch.data.train, scratch.model.d_model, scratch.text.tokenizer) == (("mine.tsv",), 128, "wordpiece")
    tiny = contrastive(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(tiny.to_json(), encoding="utf-8")
    started, _ = asked("--tsv", "mine.tsv", "--init-from", str(tmp_path / "other"))
    assert (started.model, started.training.peak_learning_rate) == (tiny.model, 1e-4)
    assert started.task == dataclasses.replace(tiny.task, source_language="", target_language="")
