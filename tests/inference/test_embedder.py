"""Vectors of texts: the arithmetic of pooling, empty and long texts, and the nearest of many."""

import numpy as np
import pytest
import tensorflow as tf
from reference import randomised
from tiny_run import contrastive, masked_model, save_run, spread_parts, write_run

from transformer.inference.embedder import Embedder
from transformer.inference.nearest import nearest
from transformer.system.errors import UserError
from transformer.tasks import task_class


@pytest.fixture(scope="module", params=["contrastive", "masked-lm"])
def made(request, tmp_path_factory):
    """Return the task and the network of a run with random weights, and its embedder."""
    folder = tmp_path_factory.mktemp(request.param)
    config = (contrastive if request.param == "contrastive" else masked_model)(folder)
    kind = task_class(request.param)
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    network = randomised(task.network("float32"))
    return task, network, Embedder.load(write_run(folder / "run", config, task.vocabularies, network))


def test_a_vector_is_the_mean_of_all_states_with_length_1(made):
    task, network, embedder = made
    texts = ["one sun two", "moon"] * 40
    found = embedder.embed(texts)
    assert found.shape == (80, 16) and found.dtype == np.float32 and embedder.size == 16
    for text, vector in zip(texts[:2], found, strict=False):
        ids = np.array([[2, *task.tokenizer.encode([text])[0], 3]])
        mean = network.encoder(tf.constant(ids), training=False).numpy()[0].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.sqrt(np.sum(mean**2)), atol=1e-5)
        np.testing.assert_allclose(embedder.embed([text], normalise=False)[0], mean, atol=1e-5)


def test_an_empty_text_is_a_zero_vector_and_a_warning(made):
    embedder = made[2]
    with pytest.warns(UserWarning, match="text 2: empty, so that its vector is 0"):
        found = embedder.embed(["sun", " ", "sea"])
    assert not found[1].any() and found[[0, 2]].any(axis=1).all()
    assert embedder.embed([]).shape == (0, 16)


def test_a_text_that_is_too_long_is_cut_with_a_warning(made):
    embedder = made[2]
    found = embedder.embed_and_warn(["sun", "sun " * 60])
    assert list(found.warnings) == [1] and "tokens were not read" in found.warnings[1]


def test_a_smaller_vector_is_the_beginning_with_length_1(made):
    embedder = made[2]
    whole = embedder.embed(["one sun"], normalise=False)[0, :4]
    np.testing.assert_allclose(embedder.embed(["one sun"], 4)[0], whole / np.linalg.norm(whole), rtol=1e-5)
    with pytest.raises(ValueError, match="size must be at most 16"):
        embedder.embed(["a"], 17)
    with pytest.raises(ValueError, match="list of texts"):
        embedder.embed("one sun")


def test_a_run_of_another_task_is_refused(tmp_path):
    run = save_run(tmp_path / "run", spread_parts())
    with pytest.raises(UserError, match="is a run of the task translation; use "):
        Embedder.load(run.path)


def test_the_nearest_are_those_of_all_products():
    generator = np.random.default_rng(0)
    vectors, queries = generator.normal(size=(50, 6)).astype(np.float32), generator.normal(size=(3, 6))
    queries = queries.astype(np.float32)
    products = queries @ vectors.T
    for size in (1, 7, 50):
        scores, numbers = nearest(queries, (vectors[i : i + size] for i in range(0, 50, size)), 4)
        assert numbers.tolist() == np.argsort(-products, axis=1)[:, :4].tolist()
        np.testing.assert_allclose(scores, np.sort(products, axis=1)[:, ::-1][:, :4], rtol=1e-5)


def test_of_equal_vectors_the_first_is_nearer_and_few_are_all():
    scores, numbers = nearest(np.ones((1, 2), np.float32), iter([np.ones((2, 2)), np.ones((1, 2))]), 9)
    assert numbers.tolist() == [[0, 1, 2]] and scores.tolist() == [[2, 2, 2]]
    with pytest.raises(ValueError, match="most must be at least 1"):
        nearest(np.ones((1, 2)), [], 0)
