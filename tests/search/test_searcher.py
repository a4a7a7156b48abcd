"""Searching with graphs and with compiled code: the same hypotheses as the plain loop, whatever the shape."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.config.settings import SearchConfig
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.models.transformer import Transformer
from transformer.search import loop
from transformer.search import searcher as module
from transformer.search.beam import likeliest
from transformer.search.loop import decode
from transformer.search.rules import at_least, begins_with
from transformer.search.searcher import Searcher, padded, strategy_for

SLOW = pytest.mark.slow  # XLA compiles each shape for seconds; one search that it compiled is compared in any case
SOURCES = [[START_ID, 5, 6, END_ID], [START_ID, 4, END_ID], [START_ID, 8, 7, 6, 5, 4, 4, 9, END_ID]]


@functools.cache
def untrained(positions):
    """Return an untrained model whose logits are spread enough to tell hypotheses apart."""
    keras.utils.set_random_seed(3)
    model = Transformer(2, 16, 2, 32, 12, 12, 80, 80, rate=0.0, embeddings="shared", positions=positions)
    model.build()
    model.encoder.embedding.embeddings.assign(3 * model.encoder.embedding.embeddings)
    return model


@pytest.fixture(scope="module")
def model():
    return untrained("sinusoidal")


def search_of(**settings):
    return SearchConfig(length_penalty=0.6, **settings)


def agree(found, expected):
    """Check that hypotheses are those of the plain loop, but for padding at the end."""
    length = min(found.ids.shape[2], expected.ids.shape[2])
    np.testing.assert_array_equal(found.ids[..., :length], expected.ids[..., :length])
    assert not found.ids[..., length:].any() and not tf.reduce_any(expected.ids[..., length:] != PAD_ID)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.log_probabilities, expected.log_probabilities, rtol=1e-4, atol=1e-5)
    tokens = expected.token_log_probabilities[..., :length]
    np.testing.assert_allclose(found.token_log_probabilities[..., :length], tokens, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_array_equal(found.finished, expected.finished)


def run(searcher, sources, limits, least=None, prefix=None):
    least = np.zeros(len(sources), np.int32) if least is None else least
    return searcher(padded(sources), np.array(limits, np.int32), least, prefix)


@pytest.mark.parametrize(
    "width, positions, compile_after",
    [
        (1, "sinusoidal", 99),
        (3, "rotary", 99),
        pytest.param(3, "rotary", 0, marks=SLOW),
        pytest.param(1, "sinusoidal", 0, marks=SLOW),
        pytest.param(3, "sinusoidal", 0, marks=SLOW),
    ],
)
def test_it_finds_what_the_plain_loop_finds(width, positions, compile_after):
    model = untrained(positions)
    searcher = Searcher([model], search_of(beam_size=width), compile_after)
    for sources, limits in ((SOURCES, [7, 5, 12]), (SOURCES[1:2], [6]), (SOURCES * 9, [4, 9, 2] * 9)):
        expected = decode([model], tf.constant(padded(sources)), tf.constant(limits), strategy_for(searcher.search))
        agree(run(searcher, sources, limits), expected)
    assert set(searcher._graphs) == {(compile_after == 0, False)}


@pytest.mark.parametrize("compile_after", [pytest.param(0, marks=SLOW), 99])
def test_the_capacity_doubles_until_the_longest_limit(model, compile_after, monkeypatch):
    monkeypatch.setattr(loop, "FIRST_CAPACITY", 4)
    search, limits = search_of(beam_size=2, min_length=1), [21, 21, 21]
    least = np.array([20, 20, 20], np.int32)
    expected = decode(
        [model],
        tf.constant(padded(SOURCES)),
        tf.constant(limits),
        strategy_for(search),
        [at_least(tf.constant(least))],
    )
    found = run(Searcher([model], search, compile_after), SOURCES, limits, least)
    agree(found, expected)
    assert found.ids.shape[2] == 21 and (found.lengths[:, :2] == 21).all()  # of those that left the beam


@pytest.mark.slow  # XLA, as above
def test_more_sentences_than_compiled_code_takes_are_taken_some_at_a_time(model, monkeypatch):
    monkeypatch.setattr(module, "COMPILED_ROWS", 8)  # 4 sentences of 2 hypotheses
    searcher = Searcher([model], search_of(beam_size=2), 0)
    sources, limits = [SOURCES[i % 3] for i in range(11)], [3 + i % 5 for i in range(11)]
    expected = decode([model], tf.constant(padded(sources)), tf.constant(limits), strategy_for(searcher.search))
    agree(run(searcher, sources, limits), expected)


@pytest.mark.slow  # XLA compiles
def test_a_shape_is_compiled_when_it_has_come_often_enough(model):
    searcher = Searcher([model], search_of(beam_size=1), 2)
    for _ in range(2):
        run(searcher, SOURCES[:2], [4, 4])
    graphs = searcher.traces
    run(searcher, SOURCES, [4, 4, 4])  # another shape
    assert set(searcher._graphs) == {(False, False)} and searcher.traces == graphs
    run(searcher, SOURCES[:2], [4, 4])
    assert set(searcher._graphs) == {(False, False), (True, False)}
    compiled = searcher.traces
    for sources in (SOURCES[:2], [SOURCES[2]] * 3, SOURCES):
        for _ in range(4):
            run(searcher, sources, [5] * len(sources))
    assert searcher.traces == compiled  # one graph for all shapes


@pytest.mark.parametrize("compile_after", [pytest.param(0, marks=SLOW), 99])
def test_draws_are_as_the_seed_says_before_and_after_compiling(model, compile_after):
    draws = {}
    for seed in (1, 2):
        searcher = Searcher([model], search_of(beam_size=6, temperature=1.0, seed=seed), compile_after)
        draws[seed], again = (run(searcher, SOURCES, [9, 9, 9]).ids for _ in range(2))
        np.testing.assert_array_equal(draws[seed], again)
    assert draws[1].tolist() != draws[2].tolist()


def test_prefixes_are_searched_without_compiling(model):
    searcher = Searcher([model], search_of(beam_size=2), 0)
    prefix = np.array([[7, 8], [9, PAD_ID], [PAD_ID, PAD_ID]], np.int32)
    limits = [6, 6, 6]
    rules = [begins_with(tf.constant(prefix))]
    expected = decode([model], tf.constant(padded(SOURCES)), tf.constant(limits), strategy_for(searcher.search), rules)
    agree(run(searcher, SOURCES, limits, prefix=prefix), expected)
    assert set(searcher._graphs) == {(False, True)}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("vocabulary", [50, 900, 1234, 8000])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_likeliest_tokens_are_those_of_a_sort(vocabulary, count, compiled):
    logits = np.random.default_rng(vocabulary + count).permutation(6 * vocabulary).reshape(2, 3, -1).astype(np.float32)
    expected = np.argsort(-logits, axis=-1)[..., :count]
    values, tokens = tf.function(likeliest, jit_compile=compiled)(tf.constant(logits), count)
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(logits, expected, axis=-1))
