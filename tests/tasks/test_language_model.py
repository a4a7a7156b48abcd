"""Language models: windows that move, documents that stand apart, and figures by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
from reference import randomised
from tiny_run import tiny_config

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.data.batches import batches
from transformer.data.examples.text_documents import Chunk, Part
from transformer.data.tokenizers.exact import Characters
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, START_ID, UNKNOWN_ID
from transformer.losses.cross_entropy import token_losses
from transformer.system.errors import UserError
from transformer.tasks.language_model import LanguageModel, same_document
from transformer.training.preparation import stored_rows
from transformer.training.trainer import train

WINDOW = 8
TEXT = "".join(f"{n} {n % 7} abc\n" for n in range(60))


def config_of(folder, task=None, data=None, **sections):
    config = tiny_config(folder, text={"tokenizer": "characters"}, task={"name": "language-model"}, **sections)
    sizes = {"max_tokens": WINDOW, "batch_tokens": 4 * WINDOW, "length_step": 4}
    return config.override({"task": task or {}, "data": {**sizes, **(data or {})}})


def task_of(folder, characters="0123456789 abc\n", **changes):
    return LanguageModel(config_of(folder, **changes), TextVocabulary(Characters.of(characters)), {})


def rows_of(task, text, split="train"):
    columns, left_out = task.encode([Chunk(split, 0, (Part(text, True, True),))])
    values, lengths = columns["tokens"]
    return np.split(values, np.cumsum(lengths)[:-1]), left_out


def test_documents_are_framed(tmp_path):
    task = task_of(tmp_path)
    ab = [int(i) for i in task.tokenizer.encode(["ab"])[0]]
    parts = [Part("ab", True, True), Part("ab", True, False), Part("ab", False, True)]
    assert task.ids(parts).tolist() == [START_ID, *ab, END_ID, START_ID, *ab, *ab, END_ID]
    task = task_of(tmp_path, task={"start_token": False})
    assert task.ids(parts).tolist() == [*ab, END_ID, *ab, *ab, END_ID]
    assert task.prompt("ab").tolist() == ab and task.prompt("").tolist() == [END_ID]


@pytest.mark.parametrize("count", [9, 16, 17, 18, 31, 33, 100])
def test_validation_reads_each_token_once(tmp_path, count):
    task = task_of(tmp_path)
    text = (TEXT * 2)[: count - 2]
    rows, _ = rows_of(task, text, "validation")
    expected = task.ids([Part(text, True, True)])
    assert (
        np.concatenate([row[1:] for row in rows]).tolist() == expected[1:].tolist()
    )  # all but the first are predicted
    assert all(len(row) == WINDOW + 1 for row in rows[:-1]) and 2 <= len(rows[-1]) <= WINDOW + 1


@pytest.mark.parametrize("count", [9, 16, 17, 18, 31, 33, 100])
def test_training_windows_begin_at_every_token_and_are_whole(tmp_path, count):
    task = task_of(tmp_path)
    text = (TEXT * 2)[: count - 2]
    expected, (rows, _) = task.ids([Part(text, True, True)]), rows_of(task, text)
    assert len(rows) == (count - 1) // WINDOW
    begins = []
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(row, expected[i * WINDOW :][: len(row)])
        begins += range(i * WINDOW, i * WINDOW + len(row) - WINDOW)
    assert begins == list(range(count - WINDOW))  # each once: the last window ends with the text


def test_a_batch_holds_windows_that_move(tmp_path):
    task = task_of(tmp_path)
    rows, _ = rows_of(task, TEXT)
    record = {"tokens": tf.ragged.constant([row.tolist() for row in rows], tf.int32)}
    begins = []
    for seed in range(40):
        batch = {name: part.numpy() for name, part in task.batch(record, tf.constant([seed, 0], tf.int64)).items()}
        assert batch["ids"].shape == batch["labels"].shape == (len(rows), WINDOW)
        np.testing.assert_array_equal(batch["ids"][:, 1:], batch["labels"][:, :-1])
        for row, ids, labels in zip(rows, batch["ids"], batch["labels"], strict=True):
            window = [*ids, labels[-1]]
            places = [p for p in range(len(row) - WINDOW) if row[p : p + WINDOW + 1].tolist() == window]
            assert places
            begins.append(places[0])
    assert set(begins) == set(range(WINDOW))


def test_short_rows_are_padded(tmp_path):
    task = task_of(tmp_path)
    record = {"tokens": tf.ragged.constant([list(range(4, 13)), [4, 5, 6]], tf.int32)}
    batch = task.batch(record, tf.constant([1, 1], tf.int64))
    assert batch["labels"].numpy().tolist() == [list(range(5, 13)), [5, 6, 0, 0, 0, 0, 0, 0]]
    assert float(task.counts(batch)["token"]) == WINDOW + 2


def test_documents_that_do_not_see_each_other(tmp_path):
    task = task_of(tmp_path, task={"cross_documents": False}, model={"positions": "rotary"})
    network = randomised(task.network("float32"))
    one, other = [START_ID, 5, 6, 7, END_ID], [START_ID, 8, 9, END_ID]
    together = task.batch({"tokens": tf.ragged.constant([one + other], tf.int32)}, tf.constant([0, 0], tf.int64))
    assert together["labels"].numpy()[0].tolist() == [5, 6, 7, END_ID, 0, 8, 9, END_ID]
    assert same_document(together["ids"]).numpy()[0, 0, 5].tolist() == [False] * 5 + [True] * 3
    loss = float(task.losses(network, together, False)["token"])
    apart = 0.0
    for ids in (one, other):  # rotary positions are relative: where a document stands makes no difference
        logits = network(tf.constant([ids[:-1]]))
        apart += float(tf.reduce_sum(token_losses(tf.constant([ids[1:]]), logits)))
    assert loss == pytest.approx(apart, rel=1e-5)
    crossing = task_of(tmp_path, model={"positions": "rotary"})
    assert float(crossing.losses(network, together, False)["token"]) != pytest.approx(loss, rel=1e-3)


def test_figures_by_hand(tmp_path):
    task = LanguageModel(config_of(tmp_path), TextVocabulary(Characters.of("ab")), {"validation_bytes": "16"})
    figures = task.from_losses({"token": 8 * math.log(4)}, {"token": 8.0})
    assert figures["perplexity"] == pytest.approx(4.0)
    assert figures["bits_per_byte"] == pytest.approx(1.0)  # 8 tokens of 2 bits each, 16 bytes
    assert figures["byte_perplexity"] == pytest.approx(2.0)


def test_unknown_characters_are_counted(tmp_path):
    task = task_of(tmp_path)
    rows, left_out = rows_of(task, "abc" * 4 + "éa猫", "validation")
    assert left_out == {"unknown characters": 2}
    assert sum(int(np.sum(row == UNKNOWN_ID)) for row in rows) == 2


def test_a_text_shorter_than_a_window_is_refused(tmp_path):
    task = task_of(tmp_path)
    with pytest.raises(UserError, match=r"has 8 tokens, and a window has data.max_tokens = 8 and one more; give more"):
        rows_of(task, "abcabc")
    assert len(rows_of(task, "abcabc", "validation")[0]) == 1


def test_long_windows_shuffle_fewer_rows(tmp_path):
    assert task_of(tmp_path).buffered() == 64
    config = config_of(tmp_path, model={"max_positions": 1024}, data={"max_tokens": 1024, "batch_tokens": 1024})
    config = config.override({"data": {"shuffle_buffer": 10**6}})
    assert LanguageModel(config, TextVocabulary(Characters.of("a")), {}).buffered() == 2**22 // 2048


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("language_model")
    (folder / "text.txt").write_text("abcd\n" * 600, encoding="utf-8")
    recipe = {"schedule": "cosine", "peak_learning_rate": 0.02, "warmup_steps": 10, "label_smoothing": 0.0}
    length = {"max_steps": 60, "validate_every": 60, "log_every": 60}
    config = config_of(
        folder,
        data={"train": [str(folder / "text.txt")], "batch_tokens": 16 * WINDOW},
        model={"dropout_rate": 0.0, "positions": "rotary", "norm_first": True},
        training={**recipe, **length},
    )
    run = RunDirectory(folder / "run")
    train(config, run.path)
    return run, config


@pytest.mark.slow  # a training
def test_it_learns_a_text_and_goes_on_with_it(trained):
    run, _ = trained
    task, network = load(run)
    assert network.count_params() < 10_000
    found = task.predict(network, ["abcd\nabc", "abcd\n"])
    assert found[0].startswith("d\nabcd\nab") and found[1].startswith("abcd\nabcd")


def test_the_validation_loss_is_that_of_the_whole_text(trained):
    run, config = trained
    task, network = load(run)
    corpus = LanguageModel.read(config)
    shards = stored_rows(corpus, "validation", task)
    counts = sum(float(task.counts(batch)["token"]) for batch in batches(shards, task, config.data))
    nats = sum(float(task.losses(network, batch, False)["token"]) for batch in batches(shards, task, config.data))
    ids = task.ids(list(corpus.parts("validation")))
    assert counts == len(ids) - 1 and len(ids) == 300 + 1  # a tenth of 3,000 characters, and the end
    expected = 0.0
    for start in range(0, len(ids) - 1, WINDOW):
        window = ids[start : start + WINDOW + 1]
        logits = network(tf.constant(window[np.newaxis, :-1]))
        expected += float(tf.reduce_sum(token_losses(tf.constant(window[np.newaxis, 1:]), logits)))
    assert nats == pytest.approx(expected, rel=1e-5)
    assert nats / counts < 0.1


def test_settings_of_language_models_are_refused_for_translators(tmp_path):
    from transformer.tasks.sequence_to_sequence import check_buildable

    for name, value in {"norm": "rms", "gated": True, "use_bias": False, "num_kv_heads": 1}.items():
        model = tiny_config(tmp_path, model={name: value}).model
        with pytest.raises(UserError, match=f"model.{name} is a setting of language models alone"):
            check_buildable(model, None)
