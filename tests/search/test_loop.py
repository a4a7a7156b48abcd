"""Every way to decode: against brute force, plain uncached loops and probabilities, and on scripted models."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.models.transformer import Transformer
from transformer.search.beam import Beam
from transformer.search.hypotheses import length_penalty
from transformer.search.loop import decode
from transformer.search.rules import Past, at_least, begins_with, no_repeated_ngram, penalise_repetition
from transformer.search.sampling import Sample, drawn

NEVER = (PAD_ID, UNKNOWN_ID, START_ID)
SOURCES = [[2, 5, 9, 4, 3], [2, 7, 3], [2, 8, 6, 3]]  # of different lengths, so that a batch of them has padding


def a_model(vocabulary, **options):
    keras.utils.set_random_seed(11)
    model = Transformer(2, 16, 2, 32, 10, vocabulary, 16, 16, 0.1, **options)
    model.build()
    # Untrained logits are nearly alike; these differ enough for hypotheses to be told apart.
    model.final_layer.kernel.assign(3 * model.final_layer.kernel)
    model.final_layer.bias.assign(tf.random.normal((vocabulary,), seed=1))
    return model


@pytest.fixture(scope="module")
def small():
    return a_model(6)  # two words, 4 and 5, and the end


@pytest.fixture(scope="module")
def larger():
    return a_model(12)


def beam_search(model, source_ids, limits, width, alpha, form="gnmt", **options):
    return decode([model], source_ids, limits, Beam(width, alpha, form), **options)


def padded(rows):
    return tf.ragged.constant(rows, tf.int32).to_tensor()


def log_probabilities(model, source, prefixes):
    """Return log P(next token | prefix) of equally long prefixes, without a cache: (N, V), in float64."""
    target_in = tf.constant([[START_ID, *prefix] for prefix in prefixes], tf.int32)
    outputs, _ = model.decode(tf.constant([source] * len(prefixes), tf.int32), target_in, training=False)
    logits = model.project(outputs)[:, -1].numpy().astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def token_log_probabilities(model, source, ids):
    """Return log P of each token after the ones before it, computed at once, without a cache: (T,), in float64."""
    outputs, _ = model.decode(tf.constant([source]), tf.constant([[START_ID, *ids[:-1]]], tf.int32), training=False)
    logits = model.project(outputs)[0].numpy().astype(np.float64)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))[range(len(ids)), ids]


def penalty(length, alpha):
    return ((5 + length) / 6) ** alpha


def beam_by_a_loop(model, source, limit, width, alpha):
    """Beam search as Wu et al. 2016 tell it, on lists; hypotheses are (ids, log-probability, done)."""
    beam = [([], 0.0, False)]
    while not all(done for *_, done in beam):
        candidates = [hypothesis for hypothesis in beam if hypothesis[2]]
        going = [hypothesis for hypothesis in beam if not hypothesis[2]]
        steps = log_probabilities(model, source, [ids for ids, *_ in going])
        for (ids, total, _), step in zip(going, steps, strict=True):
            for token in set(range(len(step))) - set(NEVER):
                longer = [*ids, token]
                candidates.append((longer, total + step[token], token == END_ID or len(longer) == limit))
        beam = sorted(candidates, key=lambda h: h[1] / penalty(len(h[0]), alpha), reverse=True)[:width]
    return beam


def found_in(hypotheses, row):
    """Return [(ids, log-probability)] of the real hypotheses of a sentence, best first, checking their order."""
    scores = hypotheses.scores[row].numpy()
    real = int(np.sum(scores > -1e6))  # a beam wider than there are sequences is filled up with impossible ones
    assert (np.diff(scores[:real]) <= 0).all() and (scores[real:] < -1e6).all()
    found = []
    for beam in range(real):
        ids, length = hypotheses.ids[row, beam].numpy(), int(hypotheses.lengths[row, beam])
        assert (ids[length:] == PAD_ID).all() and not np.isin(ids[:length], NEVER).any()
        assert bool(hypotheses.finished[row, beam]) == (ids[length - 1] == END_ID)
        assert END_ID not in ids[: length - 1]
        found.append((ids[:length].tolist(), float(hypotheses.log_probabilities[row, beam])))
    return found


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_a_wide_beam_is_brute_force(small, alpha):
    limits = [4, 2, 3]
    hypotheses = beam_search(small, padded(SOURCES), tf.constant(limits), 31, alpha)
    for row, (source, limit) in enumerate(zip(SOURCES, limits, strict=True)):
        # Every sequence there is: words and an end, or words up to the limit. 4 tokens: 1 + 2 + 4 + 8 ended, 16 cut.
        sequences = [[*words, END_ID] for n in range(limit) for words in itertools.product((4, 5), repeat=n)]
        sequences += [list(words) for words in itertools.product((4, 5), repeat=limit)]
        tokens = tf.ragged.constant(sequences, tf.int32).to_tensor()  # padding comes after all that counts
        target_in = tf.concat([tf.fill((len(sequences), 1), START_ID), tokens[:, :-1]], axis=1)
        logits = small((tf.constant([source] * len(sequences), tf.int32), target_in), training=False)
        chosen = tf.gather(tf.nn.log_softmax(logits), tokens, axis=2, batch_dims=2).numpy()
        totals = [float(row[: len(ids)].sum()) for row, ids in zip(chosen, sequences, strict=True)]
        scored = [(total / penalty(len(ids), alpha), ids, total) for ids, total in zip(sequences, totals, strict=True)]
        scored.sort(reverse=True)
        found = found_in(hypotheses, row)
        assert [ids for ids, _ in found] == [ids for _, ids, _ in scored]
        np.testing.assert_allclose([total for _, total in found], [total for *_, total in scored], rtol=1e-5)
        best = [score for score, *_ in scored]
        np.testing.assert_allclose(hypotheses.scores[row, : len(best)], best, rtol=1e-5)


@pytest.mark.parametrize("width, alpha, norm_first", [(3, 0.0, False), (4, 1.0, True)])
def test_the_cached_batched_search_is_the_uncached_loop_on_each_sentence(width, alpha, norm_first):
    limits, model = [5, 3, 6], a_model(12, norm_first=norm_first)
    hypotheses = beam_search(model, padded(SOURCES), tf.constant(limits), width, alpha)
    assert hypotheses.ids.shape[:2] == (3, width)
    for row, (source, limit) in enumerate(zip(SOURCES, limits, strict=True)):
        expected = beam_by_a_loop(model, source, limit, width, alpha)
        found = found_in(hypotheses, row)
        assert [ids for ids, _ in found] == [ids for ids, *_ in expected]
        np.testing.assert_allclose([total for _, total in found], [total for _, total, _ in expected], rtol=1e-4)


def test_a_beam_of_one_is_greedy(larger):
    limit = 6
    hypotheses = beam_search(larger, padded(SOURCES), tf.constant([limit] * 3), 1, 0.6)
    for row, source in enumerate(SOURCES):
        ids = []
        while len(ids) < limit and END_ID not in ids:
            (step,) = log_probabilities(larger, source, [ids])
            step[list(NEVER)] = -np.inf
            ids.append(int(step.argmax()))
        assert [found for found, _ in found_in(hypotheses, row)] == [ids]


def test_padding_of_a_batch_changes_no_result(larger):
    sources = [[2, 4, 5, 6, 7, 8, 9, 3], *SOURCES]
    together = beam_search(larger, padded(sources), tf.constant([6, 4, 5, 3]), 3, 0.6)
    for row, (source, limit) in enumerate(zip(sources, [6, 4, 5, 3], strict=True)):
        alone = beam_search(larger, tf.constant([source]), tf.constant([limit]), 3, 0.6)
        assert [ids for ids, _ in found_in(together, row)] == [ids for ids, _ in found_in(alone, 0)]
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5)


class Scripted:
    """A model that says what a table says: `logits[step][last token]` is a row over the vocabulary.

    The cache holds the tokens that were fed so far, a column for each hypothesis, and `pasts` what each hypothesis was
    fed so far by those who wrote its tokens.
    """

    def __init__(self, table):
        self.table = tf.constant(table, tf.float32)  # (T, V, V)
        self.vocab_size = self.table.shape[-1]
        self.steps = 0

    def first(self, inputs):
        return tf.fill([len(inputs)], START_ID)

    def start(self, inputs, width, capacity):
        self.pasts = []
        return inputs, [tf.zeros((len(inputs), 1, capacity * width), tf.int32)]

    def step(self, ids, cache, position, memory, ancestry=None):
        self.steps += 1
        batch, width = ids.shape
        (fed,) = cache
        capacity = fed.shape[2] // width
        if ancestry is None:
            ancestry = np.broadcast_to(np.arange(width)[:, np.newaxis], (batch, width, capacity))
        now = tf.one_hot(position, capacity, dtype=tf.int32)[:, tf.newaxis] * ids[:, tf.newaxis]  # (B, T, W)
        fed += tf.reshape(now, fed.shape)
        written, upto = fed.numpy().reshape(batch, capacity, width), range(int(position) + 1)
        self.pasts.append(
            [[[int(written[b, t, ancestry[b, w, t]]) for t in upto] for w in range(width)] for b in range(batch)]
        )
        return tf.gather(self.table[position], ids), [fed], None


def table(vocabulary, **steps):
    """Return logits that are log-probabilities: `step0={START: {4: 0.6, 3: 0.4}}`; what is not named is 1e-6."""
    filled = np.full((len(steps), vocabulary, vocabulary), 1e-6)
    for step, rows in enumerate(steps.values()):
        for last, row in rows.items():
            for token, probability in row.items():
                filled[step, last, token] = probability
    return np.log(filled / filled.sum(-1, keepdims=True))


ONE = tf.constant([[2, 5, 3]])


def test_a_finished_hypothesis_is_frozen():
    # "end" at once has 0.5. Its rivals 4 (0.3) and 5 (0.2) go on with near certainty and then end.
    script = {
        "step0": {START_ID: {END_ID: 0.5, 4: 0.3, 5: 0.2}},
        "step1": {4: {4: 0.9, END_ID: 0.1}, 5: {5: 0.99, 4: 0.01}, END_ID: {4: 1.0}, PAD_ID: {4: 1.0}},
        "step2": {4: {END_ID: 1.0}, 5: {END_ID: 1.0}, PAD_ID: {5: 1.0}},
    }
    found = beam_search(Scripted(table(6, **script)), ONE, tf.constant([3]), 3, 0.0)
    assert found.ids[0].numpy().tolist() == [[END_ID, 0, 0], [4, 4, END_ID], [5, 5, END_ID]]
    np.testing.assert_allclose(np.exp(found.log_probabilities[0]), [0.5, 0.27, 0.198], rtol=1e-3)
    assert found.lengths[0].numpy().tolist() == [1, 3, 3] and found.finished[0].numpy().all()


@pytest.mark.parametrize("alpha, best", [(0.0, [END_ID, 0, 0]), (2.0, [4, 5, END_ID])])
def test_the_length_penalty_decides_between_short_and_long(alpha, best):
    # log 0.30 = -1.204 at length 1 and log 0.25 = -1.386 at length 3: (8 / 6)^2 = 1.78 turns -1.386 into -0.780.
    script = {"step0": {START_ID: {END_ID: 0.3, 4: 0.25}}, "step1": {4: {5: 1.0}}, "step2": {5: {END_ID: 1.0}}}
    logits = table(6, **script)
    logits[0, START_ID] = np.log([1e-9, 0.2, 0.15, 0.3, 0.25, 0.1])
    found = beam_search(Scripted(logits), ONE, tf.constant([3]), 2, alpha)
    assert found.ids[0, 0].numpy().tolist() == best
    expected = {END_ID: math.log(0.3), 4: math.log(0.25) / (8 / 6) ** alpha}[best[0]]
    assert float(found.scores[0, 0]) == pytest.approx(expected, rel=1e-3)


def test_each_hypothesis_keeps_its_own_past():
    # The worse first word has the better future, so the two change places and the cache has to follow.
    script = {
        "step0": {START_ID: {4: 0.6, 5: 0.4}},
        "step1": {4: {6: 0.4, 7: 0.3}, 5: {7: 0.9}},
        "step2": {6: {END_ID: 1.0}, 7: {END_ID: 1.0}},
    }
    model = Scripted(table(8, **script))
    found = beam_search(model, ONE, tf.constant([3]), 2, 0.0)
    assert found.ids[0].numpy().tolist() == [[5, 7, END_ID], [4, 6, END_ID]]
    assert model.pasts[1:] == [[[[2, 4], [2, 5]]], [[[2, 5, 7], [2, 4, 6]]]]


def test_pad_unknown_and_start_are_never_produced():
    likely = {PAD_ID: 0.4, UNKNOWN_ID: 0.3, START_ID: 0.2, 4: 0.06, END_ID: 0.04}
    script = {f"step{i}": dict.fromkeys(range(6), likely) for i in range(3)}
    for width in (1, 3):
        found = beam_search(Scripted(table(6, **script)), ONE, tf.constant([3]), width, 0.0)
        ((ids, _), *_) = found_in(found, 0)
        assert ids == ([4, 4, 4] if width == 1 else [END_ID])  # 0.04 for an end at once, 0.06 cubed for three words


def test_limits_cut_each_sentence_on_its_own():
    script = {f"step{i}": {START_ID: {4: 1.0}, 4: {4: 1.0}} for i in range(5)}
    model = Scripted(table(6, **script))
    found = beam_search(model, tf.constant([[2, 5, 3]] * 3), tf.constant([1, 5, 3]), 1, 0.0)
    assert found.ids[:, 0].numpy().tolist() == [[4, 0, 0, 0, 0], [4, 4, 4, 4, 4], [4, 4, 4, 0, 0]]
    assert found.lengths[:, 0].numpy().tolist() == [1, 5, 3]
    assert not found.finished.numpy().any()


def test_the_search_stops_when_all_hypotheses_are_finished():
    script = {"step0": {START_ID: {4: 1.0}}, "step1": {4: {END_ID: 1.0}}, **{f"later{i}": {} for i in range(5)}}
    model = Scripted(table(6, **script))
    found = beam_search(model, ONE, tf.constant([7]), 1, 0.0)
    assert model.steps == 2
    assert found.ids.numpy().tolist() == [[[4, END_ID, 0, 0, 0, 0, 0]]] and found.finished.numpy().all()


def test_an_ensemble_is_a_model_of_the_mean_probabilities(larger):
    other, limit = a_model(12, norm_first=True), 5
    found = decode([larger, other], padded(SOURCES), tf.constant([limit] * 3), Beam(1))
    for row, source in enumerate(SOURCES):
        ids, total = [], 0.0
        while len(ids) < limit and END_ID not in ids:
            both = [np.exp(log_probabilities(model, source, [ids])[0]) for model in (larger, other)]
            step = np.log(np.mean(both, axis=0))
            step[list(NEVER)] = -np.inf
            ids.append(int(step.argmax()))
            total += step.max()
        assert found_in(found, row) == [(ids, pytest.approx(total, rel=1e-4))]
    one = beam_search(larger, padded(SOURCES), tf.constant([limit] * 3), 3, 0.6)
    twice = decode([larger, larger], padded(SOURCES), tf.constant([limit] * 3), Beam(3, 0.6))
    np.testing.assert_array_equal(one.ids, twice.ids)
    np.testing.assert_allclose(one.scores, twice.scores, rtol=1e-5)


def test_token_log_probabilities_are_those_of_the_model(larger):
    found = beam_search(larger, padded(SOURCES), tf.constant([5, 4, 5]), 3, 0.6)
    for row, source in enumerate(SOURCES):
        for beam, (ids, total) in enumerate(found_in(found, row)):
            expected = token_log_probabilities(larger, source, ids)
            tokens = found.token_log_probabilities[row, beam].numpy()
            np.testing.assert_allclose(tokens[: len(ids)], expected, rtol=1e-4)
            assert (tokens[len(ids) :] == 0).all() and tokens.sum() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    "options, weights",
    [
        ({}, {4: 0.4, 5: 0.3, 6: 0.2, END_ID: 0.1}),
        ({"temperature": 0.5}, {4: 0.16, 5: 0.09, 6: 0.04, END_ID: 0.01}),
        ({"top_k": 2}, {4: 0.4, 5: 0.3}),
        ({"top_p": 0.65}, {4: 0.4, 5: 0.3}),  # 0.4 is too little, 0.4 + 0.3 enough
        ({"top_p": 0.75}, {4: 0.4, 5: 0.3, 6: 0.2}),
        ({"top_k": 3, "top_p": 0.7}, {4: 0.4, 5: 0.3}),  # of 0.9, the first has 0.44 and both have 0.78
        ({"min_p": 0.6}, {4: 0.4, 5: 0.3}),  # at least 0.6 * 0.4
        ({"min_p": 0.2}, {4: 0.4, 5: 0.3, 6: 0.2, END_ID: 0.1}),
        # The entropy is 1.280; -log p differs from it by 0.364, 0.076, 0.330 and 1.023.
        ({"typical_p": 0.25}, {5: 0.3}),
        ({"typical_p": 0.4}, {5: 0.3, 6: 0.2}),
        ({"typical_p": 0.6}, {4: 0.4, 5: 0.3, 6: 0.2}),
        # Of 0.4 and 0.3 alone the entropy is 0.683, and -log p differs from it by 0.123 and 0.164.
        ({"top_k": 2, "typical_p": 0.5}, {4: 0.4}),
    ],
)
def test_sampled_frequencies_are_the_probabilities(options, weights):
    # Pad, unknown and start share nothing, and what the model gives them is left out.
    row = {4: 0.4, 5: 0.3, 6: 0.2, END_ID: 0.1}
    model, draws = Scripted(table(7, step0={START_ID: row})), 4000
    found = decode([model], ONE, tf.constant([1]), Sample(draws, seed=5, **options))
    counts = np.bincount(found.ids.numpy().ravel(), minlength=7)
    total = sum(weights.values())
    for token in range(7):
        share = weights.get(token, 0.0) / total
        assert abs(counts[token] / draws - share) <= 4.5 * (share * (1 - share) / draws) ** 0.5
    # The score is the model's own probability, whatever was drawn from.
    np.testing.assert_allclose(
        np.exp(found.log_probabilities[0]), [row[token] for token in found.ids.numpy().ravel()], rtol=1e-3
    )


def test_a_number_draws_the_token_up_to_which_there_is_more_probability():
    probabilities = tf.constant([[[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]]])
    for number, token in {0.0: 1, 0.2: 1, 0.25: 3, 0.7: 3, 0.76: 4, 1 - 2**-24: 4}.items():
        assert drawn(probabilities, tf.constant([[number]])).numpy().tolist() == [[token]]


@pytest.mark.slow  # graphs of its own
def test_numbers_that_are_given_take_the_place_of_the_seed(larger):
    chances = np.random.default_rng(3).random((3, 2, 6), np.float32)
    found = decode([larger], padded(SOURCES), tf.constant([6, 6, 6]), Sample(2, chances=tf.constant(chances)))
    for row, source in enumerate(SOURCES):
        expected = []
        for sample in range(2):
            ids = []
            while len(ids) < 6 and END_ID not in ids:
                shares = np.exp(log_probabilities(larger, source, [ids])[0])
                shares[list(NEVER)] = 0
                ids.append(int(np.argmax(np.cumsum(shares) > chances[row, sample, len(ids)] * shares.sum())))
            expected.append(ids)
        assert sorted(ids for ids, _ in found_in(found, row)) == sorted(expected)


def test_tokens_that_were_there_are_less_likely():
    logits = tf.constant([[[0.5, 0.5, 0.5, -2.0, 3.0, -1.0]]])
    past = Past(tf.constant([[[4, 3, 4, 0]]]), tf.constant(3), 6)
    np.testing.assert_allclose(penalise_repetition(logits, past, 2.0), [[[0.5, 0.5, 0.5, -4.0, 1.5, -1.0]]])
    behind_padding = past._replace(ids=tf.constant([[[0, 3, 4, 0]]]))
    np.testing.assert_array_equal(penalise_repetition(logits, behind_padding, 2.0)[..., 0], [[0.5]])
    first = past._replace(position=tf.constant(0))
    np.testing.assert_array_equal(penalise_repetition(logits, first, 2.0), logits)


def test_a_search_goes_by_the_penalised_logits():
    """Of 0.6 and 0.4, whose logits are those negative logarithms, a penalty of 2 makes 0.36 and 0.4."""
    model = Scripted(table(6, step0={START_ID: {4: 1.0}}, step1={4: {4: 0.6, 5: 0.4}}))
    assert beam_search(model, ONE, tf.constant([2]), 1, 0.0).ids[0, 0].numpy().tolist() == [4, 4]
    found = beam_search(model, ONE, tf.constant([2]), 1, 0.0, repetition_penalty=2.0)
    assert found.ids[0, 0].numpy().tolist() == [4, 5]
    assert float(found.token_log_probabilities[0, 0, 1]) == pytest.approx(math.log(0.4 / 0.76), rel=1e-3)


def test_samples_follow_the_seed_and_each_goes_its_own_way(larger):
    def draw(seed):
        return decode([larger], padded(SOURCES), tf.constant([6, 6, 6]), Sample(5, seed=seed))

    first, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(first.ids, again.ids)
    assert (first.ids.numpy() != other.ids.numpy()).any()
    for row, source in enumerate(SOURCES):
        found = found_in(first, row)
        assert len({tuple(ids) for ids, _ in found}) > 1
        for ids, total in found:
            expected = token_log_probabilities(larger, source, ids).sum()
            assert total == pytest.approx(expected, rel=1e-4)


def test_a_prefix_is_kept_and_scored(larger):
    prefix = tf.constant([[7, 4], [9, 0], [0, 0]])
    found = beam_search(larger, padded(SOURCES), tf.constant([5, 5, 5]), 3, 0.6, rules=[begins_with(prefix)])
    free = beam_search(larger, padded(SOURCES), tf.constant([5, 5, 5]), 3, 0.6)
    assert all(ids[:2] == [7, 4] for ids, _ in found_in(found, 0))
    assert all(ids[:1] == [9] for ids, _ in found_in(found, 1))
    assert found_in(found, 2) == found_in(free, 2)
    ids, total = found_in(found, 0)[0]
    expected = token_log_probabilities(larger, SOURCES[0], ids).sum()
    assert total == pytest.approx(expected, rel=1e-4)


def test_the_shortest_length_keeps_the_end_away():
    script = {f"step{i}": dict.fromkeys(range(6), {END_ID: 0.9, 4: 0.1}) for i in range(4)}
    rules = [at_least(tf.constant([0, 2]))]
    found = beam_search(
        Scripted(table(6, **script)), tf.constant([[2, 5, 3]] * 2), tf.constant([4, 4]), 1, 0.0, rules=rules
    )
    assert found.ids[:, 0].numpy().tolist() == [[END_ID, 0, 0, 0], [4, 4, END_ID, 0]]


@pytest.mark.parametrize("size, expected", [(1, [4, 5, END_ID]), (2, [4, 4, 5, 4, END_ID]), (3, [4, 4, 4, 5, 4])])
def test_no_ngram_comes_twice(size, expected):
    # Without a rule: 4 for ever. A word once; "4 4" once, then "5" and "5 4"; "4 4 4" once.
    row = {4: 0.7, 5: 0.2, END_ID: 0.1}
    script = {f"step{i}": dict.fromkeys(range(6), row) for i in range(5)}
    rules = [no_repeated_ngram(size)]
    found = beam_search(Scripted(table(6, **script)), ONE, tf.constant([5]), 1, 0.0, rules=rules)
    assert found.ids[0, 0].numpy().tolist() == [*expected, *[0] * (5 - len(expected))]


def test_ngrams_are_blocked_in_every_hypothesis_by_its_own_past(larger):
    found = beam_search(larger, padded(SOURCES), tf.constant([12, 12, 12]), 4, 0.0, rules=[no_repeated_ngram(2)])
    for row in range(3):
        for ids, _ in found_in(found, row):
            pairs_of = list(zip(ids, ids[1:], strict=False))
            assert len(set(pairs_of)) == len(pairs_of)


class Looking(Scripted):
    """A scripted model that looks at source token 1 after word 4, else at token 0."""

    def step(self, ids, cache, position, memory, ancestry=None):
        logits, cache, _ = super().step(ids, cache, position, memory, ancestry)
        return logits, cache, tf.one_hot(tf.where(ids == 4, 1, 0), memory.shape[1])


def test_the_coverage_penalty_prefers_what_read_all_of_the_source():
    # 4 then the end reads both tokens of the source, 5 then the end reads the first one twice.
    script = {"step0": {START_ID: {5: 0.6, 4: 0.4}}, "step1": {4: {END_ID: 1.0}, 5: {END_ID: 1.0}}}
    source = tf.constant([[2, 3, 0]])  # the third is padding and asks for nothing
    plain = beam_search(Looking(table(6, **script)), source, tf.constant([2]), 2, 0.0)
    covered = beam_search(Looking(table(6, **script)), source, tf.constant([2]), 2, 0.0, coverage=0.2)
    assert [ids for ids, _ in found_in(plain, 0)] == [[5, END_ID], [4, END_ID]]
    assert covered.ids[0].numpy().tolist() == [[4, END_ID], [5, END_ID]]
    # log 0.4 with nothing missing; log 0.6 and 0.2 log(1e-6), the least that counts
    np.testing.assert_allclose(covered.scores[0], [np.log(0.4), np.log(0.6) + 0.2 * np.log(1e-6)], rtol=1e-3)


def test_the_length_penalty_by_hand():
    # ((5 + length) / 6)^alpha, Wu et al. 2016, equation 14
    np.testing.assert_allclose(length_penalty(tf.constant([1.0, 7.0, 13.0]), 1.0), [1, 2, 3], rtol=1e-6)
    np.testing.assert_allclose(length_penalty(tf.constant([1.0, 7.0, 13.0]), 2.0), [1, 4, 9], rtol=1e-6)
    np.testing.assert_allclose(length_penalty(tf.constant([1.0, 7.0, 13.0]), 0.0), [1, 1, 1], rtol=1e-6)
    assert float(length_penalty(19, 0.5)) == pytest.approx(2.0)
    np.testing.assert_allclose(length_penalty(np.array([1.0, 4.0, 9.0]), 0.5, "length"), [1, 2, 3], rtol=1e-6)
