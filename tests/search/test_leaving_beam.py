"""The beam search whose finished hypotheses leave the beam, against a plain uncached loop on each sentence."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.config.settings import SearchConfig
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.models.transformer import Transformer
from transformer.search.beam import Beam, LeavingBeam
from transformer.search.loop import decode
from transformer.search.rules import at_least, begins_with
from transformer.search.sampling import Sample
from transformer.search.searcher import strategy_for

SOURCES = [[2, 5, 9, 4, 3], [2, 7, 3], [2, 8, 6, 3]]
VOCABULARY = 9


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(11)
    model = Transformer(2, 16, 2, 32, 10, VOCABULARY, 16, 16)
    model.build()
    model.final_layer.kernel.assign(3 * model.final_layer.kernel)  # untrained logits are nearly alike
    model.final_layer.bias.assign(tf.random.normal((VOCABULARY,), seed=1))
    return model


def next_log_probabilities(model, source, prefixes):
    """Return log P(next token | prefix) without a cache: (N, V), in float64; what is never written is impossible."""
    target_in = tf.constant([[START_ID, *prefix] for prefix in prefixes])
    outputs, _ = model.decode(tf.constant([source] * len(prefixes)), target_in, training=False)
    logits = model.project(outputs)[:, -1].numpy().astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    logs[:, [PAD_ID, UNKNOWN_ID, START_ID]] = -np.inf
    return logs


def by_a_loop(model, source, limit, beam_size, least=0):
    """Return the finished hypotheses, (ids, log-probability), in the order in which they finish."""
    going, finished = [([], 0.0)], []
    for length in range(1, limit + 1):
        logs = next_log_probabilities(model, source, [ids for ids, _ in going])
        candidates = [
            ([*ids, token], total + log)
            for (ids, total), group in zip(going, logs, strict=True)
            for token, log in enumerate(group)
            if token != END_ID or length > least
        ]
        candidates = sorted(candidates, key=lambda c: c[1], reverse=True)[: 2 * beam_size]
        finished += [c for c in candidates[:beam_size] if c[0][-1] == END_ID or length == limit]
        going = [c for c in candidates if c[0][-1] != END_ID][:beam_size]
        if len(finished) >= beam_size:
            break
    return finished


def best_of(finished, count, score):
    return sorted(finished, key=lambda c: score(c[1], len(c[0])), reverse=True)[:count]


def found_in(found, row, count):
    return [
        (found.ids[row, w, : found.lengths[row, w]].numpy().tolist(), float(found.log_probabilities[row, w]))
        for w in range(count)
    ]


@pytest.mark.parametrize("beam_size, alpha, form", [(1, 0.6, "gnmt"), (2, 1.5, "length"), (3, 0.0, "gnmt")])
def test_the_cached_batched_search_is_the_uncached_loop_on_each_sentence(model, beam_size, alpha, form):
    limits = [6, 9, 4]
    strategy = LeavingBeam(beam_size, alpha, form)
    found = decode([model], tf.ragged.constant(SOURCES).to_tensor(), tf.constant(limits), strategy)
    cut = 0
    for row, (source, limit) in enumerate(zip(SOURCES, limits, strict=True)):

        def score(total, length):
            return total / (length if form == "length" else (5 + length) / 6) ** alpha

        expected = best_of(by_a_loop(model, source, limit, beam_size), beam_size, score)
        ours = found_in(found, row, beam_size)
        assert [ids for ids, _ in ours] == [ids for ids, _ in expected]
        np.testing.assert_allclose([total for _, total in ours], [total for _, total in expected], rtol=1e-5)
        scores = [score(total, len(ids)) for ids, total in expected]
        np.testing.assert_allclose(found.scores[row, :beam_size], scores, rtol=1e-5)
        assert found.finished[row, :beam_size].numpy().tolist() == [ids[-1] == END_ID for ids, _ in expected]
        cut += sum(ids[-1] != END_ID for ids, _ in expected)
    assert beam_size == 1 or 0 < cut < 3 * beam_size  # searches ended in either way


def test_penalties_order_the_finished_and_rules_hold(model):
    source = tf.constant([SOURCES[0]])
    rules = [at_least(tf.constant([3])), begins_with(tf.constant([[5]]))]
    found = decode([model], source, tf.constant([8]), LeavingBeam(3, 1.0), rules, coverage=0.3)
    assert (found.ids[0, :3, 0].numpy() == 5).all()
    assert all(END_ID not in ids[:3] for ids in found.ids[0, :3].numpy())
    assert (np.diff(found.scores[0]) <= 0).all()
    plain = by_a_loop(model, SOURCES[0], 8, 3, least=3)
    found = decode([model], source, tf.constant([8]), LeavingBeam(3, 1.0), rules[:1])
    expected = best_of(plain, 3, lambda total, length: total / ((5 + length) / 6))
    assert [ids for ids, _ in found_in(found, 0, 3)] == [ids for ids, _ in expected]


def test_the_config_chooses_the_rule():
    assert type(strategy_for(SearchConfig())) is LeavingBeam
    assert type(strategy_for(SearchConfig(finished="compete"))) is Beam
    assert type(strategy_for(SearchConfig(finished="leave", beam_size=1))) is Beam  # greedy either way
    assert type(strategy_for(SearchConfig(finished="leave", temperature=1.0))) is Sample
    chosen = strategy_for(SearchConfig(finished="leave", beam_size=5, penalty="length", length_penalty=1.2))
    assert (type(chosen), chosen.width, chosen.alpha, chosen.form) == (LeavingBeam, 10, 1.2, "length")
    with pytest.raises(ValueError, match="finished must be one of 'compete', 'leave'"):
        SearchConfig(finished="none")
