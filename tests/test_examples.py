"""The worked examples: what each class promises, and that each runs."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from tiny_run import tiny_config, write_corpus

from transformer.checkpoints.run_directory import RunDirectory
from transformer.config import settings
from transformer.inference.ctranslate2_model import unsupported
from transformer.layers.positions import KINDS
from transformer.models.transformer import Transformer
from transformer.search.strategy import Step
from transformer.system.errors import UserError
from transformer.training.trainer import Trainer


def example(name):
    """Return the module examples/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def positions():
    module = example("new_positions")
    yield module
    module.KINDS.pop("alibi", None)  # other tests know the package's own alone


@pytest.fixture(scope="module")
def strategy():
    return example("new_strategy")


def test_linear_biases_by_hand(positions):
    layer = positions.LinearBiases(5, 8, num_heads=2)  # slopes 2^-4 and 2^-8
    found = layer.bias(None, tf.range(3), tf.range(3))
    distances = np.array([[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    np.testing.assert_allclose(found, [-distances / 16, -distances / 256])
    np.testing.assert_allclose(layer.bias(None, tf.constant(2), tf.range(3)), found[:, 2:])


def test_ctranslate2_and_commands_refuse_a_kind_that_they_cannot_compute(monkeypatch, tmp_path):
    """With its name among the settings, as the example says, but no class that computes it."""
    monkeypatch.delitem(KINDS, "alibi", raising=False)
    monkeypatch.setattr(settings, "POSITIONS", (*settings.POSITIONS, "alibi"))
    config = tiny_config(tmp_path, write_corpus(tmp_path)).override({"model": {"positions": "alibi"}})
    assert "CTranslate2 does not know model.positions 'alibi'" in unsupported(config.model, None)
    with pytest.raises(UserError, match="no class computes model.positions 'alibi'; add one to KINDS"):
        Trainer(config, RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_cache_uses_linear_biases_as_a_whole_pass_does(positions):
    model, length = Transformer(2, 8, 2, 12, 11, 11, 16, 16, positions="alibi"), 4
    model.build()
    source, target = tf.constant([[2, 4, 5, 3]]), tf.constant([[2, 8, 9, 10]])
    expected = model.project(model.decode(source, target)[0])
    memory, cache = model.start(source, 1, length)
    for t in range(length):
        logits, cache, _ = model.step(target[:, t : t + 1], cache, tf.constant(t), memory)
        np.testing.assert_allclose(logits[0, 0], expected[0, t], atol=1e-5)


@pytest.mark.slow  # a training; that the biases are right is tested above
def test_a_model_with_linear_biases_learns(positions, capsys):
    positions.main()
    first, *_, last = map(float, capsys.readouterr().out.split())
    assert last < first


@pytest.mark.parametrize("epsilon, tokens", [(0.01, 4), (0.1, 3), (0.2, 2), (0.6, 1)])
def test_only_tokens_of_enough_probability_are_drawn_and_in_their_proportions(strategy, epsilon, tokens):
    probabilities, draws, shift = np.array([0.5, 0.3, 0.15, 0.05]), 4000, 7.0  # logits are shifted log-probabilities
    logits = tf.fill((1, draws, 1), shift) + tf.constant(np.log(probabilities), tf.float32)
    nothing = tf.zeros((1, draws))
    step = Step(logits, tf.fill((1, draws, 1), shift), nothing, nothing + 1, nothing > 0, tf.constant(0), 0.0)
    choice = strategy.Epsilon(draws, epsilon, seed=3).choose(step)
    drawn = choice.token.numpy()[0]
    shares = np.where(np.arange(4) < tokens, probabilities, 0) / probabilities[:tokens].sum()
    deviations = (shares * (1 - shares) / draws) ** 0.5
    assert (np.abs(np.bincount(drawn, minlength=4) / draws - shares) <= 4.5 * deviations).all()
    np.testing.assert_allclose(choice.gain[0], np.log(probabilities)[drawn], rtol=1e-5)  # the model's own


def test_the_search_runs_with_the_new_strategy(strategy, capsys):
    found = strategy.main()
    assert found.ids.shape[:2] == (1, 3) and len(capsys.readouterr().out.splitlines()) == 3
