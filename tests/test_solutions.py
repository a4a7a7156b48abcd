"""The solutions of the notebooks' exercises run, on models that train in seconds, and say what theory says."""

import importlib.util
import math
import random

import numpy as np
import pytest
from conftest import ROOT
from tiny_run import (
    contrastive,
    denoising,
    fine_tuning,
    language_model,
    masked_model,
    pairs,
    save_run,
    spread_parts,
    tiny_config,
    write_corpus,
)

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.inference.embedder import Embedder
from transformer.inference.generator import Generator
from transformer.training.trainer import Trainer, train


def solutions(number):
    """Return the module of a notebook's solutions."""
    (path,) = (ROOT / "notebooks" / "solutions").glob(f"{number:02d}_*.py")
    spec = importlib.util.spec_from_file_location(f"solutions_{number}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_attention():
    found = solutions(1)
    # A column of pair i has turned by 63 / 10000^(2i / 16) radians: 0.063 for i = 6, 0.02 for i = 7, and 0.2 for i = 5.
    # A cosine that has turned by 0.2 has changed by 0.02.
    assert found.exercise_1() == 2 * 5 + 1
    weights, output = found.exercise_2()
    np.testing.assert_allclose(output, [[7.5, 2.5], [2.5, 7.5], [5, 5]], atol=0.05)
    assert weights.max(axis=1) == pytest.approx([0.5, 0.5, 1.0], abs=0.01)
    assert found.exercise_3().tolist() == [True, True, False, True, True]
    weights = found.exercise_4()
    assert not weights[:, :, 0].any()
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    assert found.exercise_5() == 2304


def test_translations(tmp_path):
    run = save_run(tmp_path / "run", spread_parts()).path
    found = solutions(3)
    sources, targets = map(list, zip(*pairs(6), strict=True))
    by_beam = found.exercise_1(run, sources, targets, (1, 4))
    assert by_beam[4][0] >= by_beam[1][0] - 1e-3 and all(0 <= score <= 100 for _, score in by_beam.values())
    assert len(found.exercise_2(run, sources)) == 2
    assert found.exercise_3(run, sources[0], "moon").startswith("moon")
    _, away = found.exercise_4(run, sources[0])
    assert away.shape == (1, 2) and (away >= 0).all() and (away <= 1).all()
    sure = [each[0] for each in found.exercise_5(run, sources)]
    assert sure == sorted(sure)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    config = language_model(folder, training={"max_steps": 40, "schedule": "cosine", "peak_learning_rate": 0.02})
    train(config.override({"training": {"validate_every": 40}}), folder / "run")
    return Generator.load(folder / "run")


@pytest.mark.slow  # it trains a language model: an untrained one knows no order of words
def test_language_models(generator, tmp_path):
    found = solutions(5)
    rows = [[2, *random.Random(i).choices([5, 6], [0.9, 0.1], k=9)] for i in range(40)]
    by_share = found.exercise_1(rows[:30], rows[30:], 8, order=0, shares=(0.9,))
    p = np.mean([token == 5 for row in rows[:30] for token in row[1:]])
    p = {5: 0.9 * p + 0.1 / 8, 6: 0.9 * (1 - p) + 0.1 / 8}
    logs = [math.log(p[token]) for row in rows[30:] for token in row[1:]]
    assert by_share[0.9] == pytest.approx(math.exp(-np.mean(logs)))
    assert math.isfinite(found.exercise_2(generator, "one two three sun"))
    kept, sampled = found.exercise_3(generator, "one t", samples=64)
    assert sampled <= kept
    perplexity, bits = found.exercise_4(generator, "one two")
    assert bits == pytest.approx(math.log2(perplexity))  # a character of English is a byte
    assert all(value > 1 for value in found.exercise_5(generator, ["one two", "sun"], ["two one"]))
    config = language_model(tmp_path, training={"validate_every": 2})
    assert len(found.exercise_6(config, tmp_path / "run", 4)) == 2


@pytest.mark.slow  # it trains translators, for seconds each
def test_training(tmp_path):
    found = solutions(2)
    recipe = {"max_steps": 4, "validate_every": 2, "log_every": 1, "score_examples": 0}
    recipe |= {"schedule": "inverse_sqrt", "peak_learning_rate": 0.01}
    config = tiny_config(tmp_path, write_corpus(tmp_path), training=recipe)
    usual, high = found.exercise_1(config, tmp_path)
    assert len(usual) == len(high) == 2 and usual != high
    smoothed, plain = found.exercise_2(config, tmp_path)
    assert smoothed != plain
    assert len(found.exercise_3(config, tmp_path, 310)) == 2
    assert not found.exercise_4(Trainer(config, RunDirectory(tmp_path / "batches")))
    assert "continuing at step 2" in found.exercise_5(config, tmp_path / "halves")


@pytest.mark.slow  # it trains translators by the command line, for seconds each
def test_own_corpora(tmp_path):
    found = solutions(4)
    data = write_corpus(tmp_path)
    sizes = ["model.num_layers=1", "model.d_model=16", "model.num_heads=2", "model.dff=32", "text.vocabulary_size=300"]
    sizes += ["data.max_tokens=24", "data.batch_tokens=192", "training.max_steps=2", "training.validate_every=2"]
    sizes += [f"data.cache={tmp_path / 'cache'}", "data.validation_pairs=8", "training.score_examples=0"]
    more = [word for setting in sizes for word in ("--set", setting)]
    source, target = data["train"]
    assert "done" in found.exercise_2(source, target, tmp_path / "en_pt", *more)
    told = found.exercise_4(source, target, tmp_path, tmp_path / "dirty", *more)
    assert "drop_empty removed 1" in told and "strip_html changed 1" in told and "drop_duplicates removed 2" in told
    (tmp_path / "new.tsv").write_text("".join(f"{one}\t{other}\n" for one, other in pairs(40)), encoding="utf-8")
    sentences = ["um dois", "sol"], ["one two", "sun"]
    scores = found.exercise_3(
        tmp_path / "dirty", tmp_path / "new.tsv", tmp_path / "adapted", sentences, sentences, ("pt", "en"), *more
    )
    assert all(len(each) == 2 for each in scores.values())
    assert found.exercise_5(tmp_path / "dirty", *sentences, "en", [1, 3, 9]).axes[0].get_title()
    (tmp_path / "config.toml").write_text(
        f'[data]\ntrain = ["{source}", "{target}"]\n[training]\naveraging = 0.9\n', encoding="utf-8"
    )
    assert len(found.exercise_1(tmp_path / "config.toml", tmp_path / "dirty", tmp_path / "plain", *more).axes) == 4


@pytest.mark.slow  # it trains masked language models, for seconds each
def test_masked_language_models(tmp_path):
    found = solutions(6)
    config = masked_model(tmp_path, training={"max_steps": 2, "validate_every": 2, "score_examples": 4})
    assert set(found.exercise_1(config, tmp_path)) == {0.05, 0.5}
    assert [len(accuracies) for accuracies in found.exercise_3(config, tmp_path)] == [1, 1]
    task, network = load(RunDirectory(tmp_path / "pairs_True"))
    assert 0 < found.exercise_2(task, network, ["one two", "sea"]) < 1
    together, one_by_one = found.exercise_4(task, network, "one [MASK] [MASK] sun")
    assert len(together) == 2 and one_by_one.startswith("one")
    (share,) = found.exercise_5(task, network, [("numbers", "one two three")]).values()
    assert 0 <= share <= 1


@pytest.mark.slow  # it trains encoders and heads on them, for seconds each
def test_fine_tuning(tmp_path):
    found = solutions(7)
    config = masked_model(tmp_path, model={"positions": "learned"}, training={"max_steps": 2, "validate_every": 2})
    train(config, tmp_path / "bert")
    sizes = ["training.max_steps=2", "training.validate_every=2", "data.max_tokens=16", "data.batch_tokens=192"]
    sizes += [f"data.cache={tmp_path / 'cache'}", "model.num_layers=1", "model.d_model=16", "model.num_heads=2"]
    sizes += ["model.dff=32", "model.max_positions=32", "model.positions=learned", "text.vocabulary_size=300"]
    sizes += ["text.tokenizer=wordpiece"]
    more = [word for setting in sizes for word in ("--set", setting)]
    rows = [(english, "sea" if "sea" in english else "land") for _, english in pairs(40)]
    files = ["--train", found.write(tmp_path / "labels.csv", rows), *more]
    by_count = found.exercise_1(tmp_path, tmp_path / "bert", rows, rows, (8,), *more, layers=1)
    assert set(by_count[8]) == {"random", "frozen", "fine-tuned"}
    assert all(0 <= share <= 1 for share in found.exercise_2(tmp_path, tmp_path / "bert", rows, *files).values())
    assert set(found.exercise_4(tmp_path, tmp_path / "bert", rows, "sea", rows, *more)) == {"none", "balanced"}
    (tmp_path / "tags").mkdir()
    tagged = fine_tuning(tmp_path / "tags", "tagging").data.train[0]
    assert set(found.exercise_5(tmp_path / "taggers", tagged, tmp_path / "bert", *more)) == {"random", "pre-trained"}
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{english}\n" for _, english in pairs(60)), encoding="utf-8")
    by_steps = found.exercise_3(tmp_path, text, tmp_path / "labels.csv", rows, (2, 4), more, *more, layers=1)
    assert len(by_steps) == 4


@pytest.mark.slow  # it trains encoders of sentences, denoisers and translators, for seconds each
def test_meaning(tmp_path):
    found = solutions(8)
    steps = {"max_steps": 2, "validate_every": 2, "score_examples": 8}
    config = contrastive(tmp_path, training=steps)
    first, second = map(list, zip(*pairs(12), strict=True))
    by_temperature = found.exercise_1(config, tmp_path, first, second, (0.5,))
    assert 0 <= by_temperature[0.5][0] <= 1 and -1 <= by_temperature[0.5][1] <= 1
    assert set(found.exercise_2(config, tmp_path, (64, 192))) == {64, 192}
    embedder = Embedder.load(tmp_path / "temperature_0.5")
    assert found.exercise_3(embedder, second) < 0.9999
    train(config.override({"task": {"encoder": "bag"}}), tmp_path / "bag")
    assert found.exercise_3(Embedder.load(tmp_path / "bag"), second) == pytest.approx(1.0, abs=1e-5)
    by_size = found.exercise_4(config, tmp_path / "sizes", embedder, first, second, (4, 16))
    vectors = embedder.embed(first), embedder.embed(second)
    assert by_size[16][0] == np.mean((vectors[0] @ vectors[1].T).argmax(axis=1) == np.arange(12))
    translation = tiny_config(tmp_path, write_corpus(tmp_path), training={**steps, "score_examples": 0})
    (tmp_path / "texts").mkdir()
    noise = denoising(tmp_path / "texts", training={**steps, "score_examples": 0})
    noise = noise.override({"task": {"mask_rate": 0.0, "delete_rate": 0.0}})
    assert all(loss > 0 for loss in found.exercise_5(noise, translation, tmp_path).values())
