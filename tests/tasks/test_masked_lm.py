"""Masked language models: two losses with two denominators, scores, what fills a mask, and what is refused."""

import math

import numpy as np
import pytest
import tensorflow as tf
from reference import randomised
from tiny_run import WORDS, pairs, tiny_config

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.settings import TextConfig
from transformer.data.batches import batches
from transformer.data.examples.passages import Passage
from transformer.data.tokenizers.exact import Characters
from transformer.data.tokenizers.learning import train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, MASK_ID, START_ID
from transformer.system.errors import UserError
from transformer.tasks.masked_lm import PROJECTED, MaskedLM
from transformer.training.preparation import stored_rows
from transformer.training.steps import mean_loss
from transformer.training.trainer import Trainer, train

MODEL = {"positions": "learned", "activation": "gelu", "dropout_rate": 0.0}
SENTENCES = [english for _, english in pairs(200)]


def write_documents(folder, size=8):
    """Write documents of sentences, blank lines between them; returns the file."""
    texts = ["\n".join(SENTENCES[i : i + size]) for i in range(0, len(SENTENCES), size)]
    (folder / "text.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return str(folder / "text.txt")


def config_of(folder, task=None, data=None, text=None, model=None, **training):
    data = {"train": [write_documents(folder)], "max_tokens": 24, "batch_tokens": 192, **(data or {})}
    config = tiny_config(folder, text={"tokenizer": "wordpiece", **(text or {})}, model={**MODEL, **(model or {})})
    task = {"name": "masked-lm", "documents": "blank_line", **(task or {})}
    recipe = {"schedule": "linear", "peak_learning_rate": 0.01, "warmup_steps": 2, "label_smoothing": 0.0}
    return config.override({"task": task, "data": data, "training": {**recipe, **training}})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A task of pairs, the rows of its training split, and its network."""
    config = config_of(tmp_path_factory.mktemp("masked"))
    corpus = MaskedLM.read(config)
    task = MaskedLM(config, MaskedLM.learn(corpus, config), corpus.describe())
    return task, stored_rows(corpus, "train", task), randomised(task.network("float32"))


def some_batches(prepared, count, seed=1):
    task, shards, _ = prepared
    return list(batches(shards, task, task.config.data, seed=seed).take(count))


def by_hand(network, batch):
    """Return the two losses and their counts of a batch, each token and pair by itself in NumPy."""
    inputs = {"input_ids": batch["ids"], "segment_ids": batch["segments"]}
    masked, following = (part.numpy().astype(np.float64) for part in network(inputs, False))
    losses, counts = {"token": 0.0, "sentence": 0.0}, {"token": 0, "sentence": 0}
    for row, label in enumerate(batch["sentence"].numpy()):
        for place, wanted in enumerate(batch["labels"].numpy()[row]):
            if wanted:
                z = masked[row, place]
                losses["token"] += math.log(np.exp(z - z.max()).sum()) + z.max() - z[wanted]
                counts["token"] += 1
        if label:  # 1: next, which is class 0 of the published code
            z = following[row]
            losses["sentence"] += math.log(np.exp(z).sum()) - z[label - 1]
            counts["sentence"] += 1
    return losses, counts


def test_losses_and_counts_are_those_by_hand(prepared):
    task, _, network = prepared
    for batch in some_batches(prepared, 3):
        losses, counts = by_hand(network, batch)
        found = task.losses(network, batch, training=False)
        assert {part: float(value) for part, value in task.counts(batch).items()} == counts
        for part, value in losses.items():
            assert float(found[part]) == pytest.approx(value, rel=1e-4)
        assert counts["sentence"] <= int((batch["ids"][:, 0] > 0).numpy().sum()) <= counts["token"]


@pytest.mark.slow  # graphs of two trainers
def test_accumulated_batches_are_one_batch_with_two_denominators(tmp_path):
    """The gradient of three batches is that of their losses, each summed over all of them and divided by its count."""
    config = config_of(tmp_path, accumulate=3)
    trainer = Trainer(config, RunDirectory(tmp_path / "run"))
    three = some_batches((trainer.data.task, trainer.data.shards, None), 3)
    sums = [by_hand(trainer.model, batch) for batch in three]
    losses, counts = ({part: sum(s[i][part] for s in sums) for part in ("token", "sentence")} for i in (0, 1))
    result = trainer.steps.train(three)
    assert result.counts == counts
    assert mean_loss(result.losses, result.counts) == pytest.approx(
        losses["token"] / counts["token"] + losses["sentence"] / counts["sentence"], rel=1e-4
    )
    means = [s[0]["token"] / s[1]["token"] for s in sums]
    assert np.mean(means) != pytest.approx(losses["token"] / counts["token"], rel=1e-3)  # what weighting would miss


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece", "bytepair"])
def test_no_text_is_lost_on_the_way(kind, tmp_path):
    config = config_of(tmp_path, text={"tokenizer": kind, "vocabulary_size": 320}, task={"next_sentence": False})
    corpus = MaskedLM.read(config)
    task = MaskedLM(config, MaskedLM.learn(corpus, config), corpus.describe())
    columns, left_out = task.encode([Passage(0, 0, tuple(SENTENCES[:9]))])
    found = task.tokenizer.decode(columns["tokens"][0])
    assert found.split() == " ".join(SENTENCES[:9]).split() and not left_out
    assert not len(columns["other"][0])
    ids = task.masked_ids(f"{SENTENCES[0]} [MASK] sun")
    assert ids[0] == START_ID and ids[-1] == END_ID and list(ids).count(MASK_ID) == 1
    assert task.tokenizer.decode(ids[ids != MASK_ID]).split() == [*SENTENCES[0].split(), "sun"]


def test_without_documents_there_is_no_next_sentence(tmp_path):
    config = config_of(tmp_path, task={"documents": "line"})
    corpus = MaskedLM.read(config)
    task = MaskedLM(config, MaskedLM.learn(corpus, config), corpus.describe())
    network = task.network("float32")
    assert not network.next_sentence and not network.encoder.pooler and "sentence_accuracy" not in task.figures
    batch = next(iter(batches(stored_rows(corpus, "train", task), task, config.data, seed=1)))
    assert task.counts(batch).keys() == task.losses(network, batch, False).keys() == task.uniform().keys() == {"token"}
    assert not batch["segments"].numpy().any()


def test_the_score_is_the_share_that_is_found(prepared):
    task, _, network = prepared
    passages = [Passage(i, i, tuple(SENTENCES[8 * i : 8 * i + 8])) for i in range(6)]
    columns = task.encode(passages).columns
    record = {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}
    rows, right, count = task.config.data.batch_tokens // task.config.data.max_tokens, [0, 0], [0, 0]
    nats = {"token": 0.0, "sentence": 0.0}
    for i in range(0, len(columns["tokens"][1]), rows):
        batch = task.batch({name: part[i : i + rows] for name, part in record.items()}, tf.constant([0, i], tf.int64))
        masked, following = network({"input_ids": batch["ids"], "segment_ids": batch["segments"]}, False)
        nats = {part: nats[part] + value for part, value in by_hand(network, batch)[0].items()}
        for j, label in enumerate(batch["sentence"].numpy()):
            wanted = batch["labels"].numpy()[j]
            right[0] += int(((masked[j].numpy().argmax(axis=1) == wanted) & (wanted > 0)).sum())
            count[0] += int((wanted > 0).sum())
            right[1] += int(label > 0 and following[j].numpy().argmax() == label - 1)
            count[1] += int(label > 0)
    found = task.score(network, passages)
    assert found["masked_accuracy"] == pytest.approx(right[0] / count[0])
    assert found["sentence_accuracy"] == pytest.approx(right[1] / count[1])
    assert found == task.score(network, passages)
    figures = task.found(network, passages).figures()
    assert figures["masked_loss"] == pytest.approx(nats["token"] / count[0], rel=1e-4)
    assert figures["sentence_loss"] == pytest.approx(nats["sentence"] / count[1], rel=1e-4)


def test_candidates_are_the_likeliest_tokens(prepared):
    task, _, network = prepared
    text = f"{SENTENCES[0]} [MASK] and [MASK]"
    ids = task.masked_ids(text)
    logits = network({"input_ids": ids[np.newaxis]}, False)[0][0].numpy()
    for top_k in (5, 300):  # of the latter, more masks than are projected at a time
        longer = ["[MASK] [MASK] [MASK]"] * (PROJECTED // 3 + 1)
        *others, found = task.predict(network, [*longer, text], top_k)
        assert len(others) == len(longer) and all(len(one.masks) == 3 for one in others)
        assert [text[mask.start : mask.end] for mask in found.masks] == ["[MASK]", "[MASK]"]
        for place, mask in zip(np.flatnonzero(ids == MASK_ID), found.masks, strict=True):
            shares = np.exp(logits[place]) / np.exp(logits[place]).sum()
            best = np.argsort(-shares[MASK_ID + 1 :])[:top_k] + MASK_ID + 1
            np.testing.assert_allclose([c.probability for c in mask.candidates], shares[best], rtol=1e-4)
            if top_k == 5:
                assert [candidate.text for candidate in mask.candidates] == [task.tokenizer.decode([i]) for i in best]
    with pytest.raises(
        UserError, match=r"there is no \[MASK\] in 'no mask'; write it where the model is to find a token"
    ):
        task.predict(network, [text, "no mask"])
    with pytest.raises(UserError, match=r"a text has \d+ tokens, and the model reads 32; give a shorter one"):
        task.predict(network, ["sun [MASK] " * 40])


def test_sizes_and_tokenizers_that_do_not_do_are_refused(tmp_path):
    words = TextVocabulary(train_masking(SENTENCES, TextConfig(tokenizer="wordpiece", vocabulary_size=320)))
    with pytest.raises(UserError, match="data.max_tokens must be at least 8 here, got 6"):
        MaskedLM(config_of(tmp_path, data={"max_tokens": 6}), words, {})
    with pytest.raises(UserError, match="model.activation 'gelo' is unknown"):
        MaskedLM(config_of(tmp_path, model={"activation": "gelo"}), words, {})
    letters = TextVocabulary(Characters.of("abc"))
    with pytest.raises(UserError, match=r"tokenizer \('characters'\) has no mask, which an encoder needs"):
        MaskedLM(config_of(tmp_path), letters, {})


@pytest.mark.slow  # 300 steps
def test_it_learns(tmp_path):
    """Each word of a sentence follows from the one before it, so what is masked can be known."""
    names = list(WORDS.values())
    lines = [" ".join(names[(start + i) % 7] for i in range(7)) for start in range(7)]
    (tmp_path / "turns.txt").write_text("\n".join(lines * 30) + "\n", encoding="utf-8")
    config = config_of(tmp_path, task={"documents": "line"}, max_steps=300, validate_every=100, score_examples=50)
    config = config.override({"data": {"train": [str(tmp_path / "turns.txt")]}})
    train(config, tmp_path / "run")
    task, network = load(RunDirectory(tmp_path / "run"))
    (found,) = task.predict(network, ["one two three [MASK] sea river moon"])
    best = found.masks[0].candidates[0]
    assert best.text == "sun" and best.probability > 0.5
