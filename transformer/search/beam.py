"""Beam search, with finished hypotheses that compete for places in the beam or leave it.

Axes: B sentences, W hypotheses per sentence or beam size, V vocabulary, C candidates of a hypothesis.
"""

import tensorflow as tf

from transformer.ids import END_ID, PAD_ID
from transformer.search.hypotheses import length_penalty
from transformer.search.strategy import IMPOSSIBLE, Choice, Step, Strategy

GROUP = 100  # tokens that `likeliest` looks at together


class Beam(Strategy):
    """Of all tokens after all hypotheses, the W best by penalised log-probability go on.

    Args:
        width: W.
        alpha: exponent of `length_penalty`.
        form: of `length_penalty`.
        most: upper bound of W, where W is a tensor.

    Source: Wu et al. 2016, section 7; Vaswani et al. 2017, section 6.1.
    """

    def __init__(
        self, width: tf.Tensor | int, alpha: tf.Tensor | float = 0.0, form: str = "gnmt", most: int = 0
    ) -> None:
        self.width, self.alpha, self.form = width, alpha, form
        self.candidates = most or width
        self.branches = self.candidates > 1

    def start(self, batch: tf.Tensor) -> tf.Tensor:
        # All hypotheses start alike; only the first may be extended at the first step, or there would be W copies.
        first_only = tf.where(tf.range(self.width) == 0, 0.0, IMPOSSIBLE)
        return tf.tile(first_only[tf.newaxis], (batch, 1))

    def score(self, log_probabilities: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        return log_probabilities / length_penalty(tf.cast(lengths, tf.float32), self.alpha, self.form)

    def choose(self, step: Step) -> Choice:
        # More of one hypothesis cannot be among the W best of all.
        candidates = min(self.candidates, step.logits.shape[-1] or self.candidates)
        likely, tokens = likeliest(step.logits, candidates)  # (B, W, C)
        # A finished hypothesis has one candidate.
        frozen = tf.where(tf.range(candidates) == 0, 0.0, IMPOSSIBLE)
        gains = tf.where(step.finished[:, :, tf.newaxis], frozen, likely - step.normalisers)
        tokens = tf.where(step.finished[:, :, tf.newaxis], PAD_ID, tokens)
        bonus = tf.zeros_like(step.log_probabilities) + step.bonus
        reached = step.log_probabilities[:, :, tf.newaxis] + gains
        penalised = self.score(reached, step.lengths[:, :, tf.newaxis]) + bonus[:, :, tf.newaxis]
        return _best(penalised, tokens, gains, self.width)


def _best(scores: tf.Tensor, tokens: tf.Tensor, gains: tf.Tensor, count: tf.Tensor | int) -> Choice:
    """Return the `count` candidates with the highest scores: (B, W, C) each -> (B, count) each."""
    shape = tf.shape(scores)
    scores, tokens, gains = (tf.reshape(part, (shape[0], shape[1] * shape[2])) for part in (scores, tokens, gains))
    _, best = tf.math.top_k(scores, count)
    token, gain = (tf.gather(part, best, batch_dims=1) for part in (tokens, gains))
    return Choice(best // shape[2], token, gain)


def likeliest(logits: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the `count` highest logits, highest first, and their tokens: (B, W, V) -> (B, W, C) each.

    They stand in the `count` groups of tokens with the highest maxima, so that only these are sorted.
    """
    width, vocabulary = logits.shape[1] or tf.shape(logits)[1], logits.shape[2] or 0
    groups = vocabulary // GROUP
    if groups < 2 * count:
        return tf.math.top_k(logits, count)
    missing = -vocabulary % GROUP
    if missing:
        groups += 1
        logits = tf.pad(logits, [[0, 0], [0, 0], [0, missing]], constant_values=2 * IMPOSSIBLE)
    table = tf.reshape(logits, (-1, groups, GROUP))  # (B * W, groups, GROUP)
    _, best = tf.math.top_k(tf.reduce_max(table, axis=2), count)  # (B * W, C)
    # A matrix multiplication with ones and zeros picks the groups: XLA would gather them one by one.
    rows = tf.matmul(tf.one_hot(best, groups), table)  # (B * W, C, GROUP)
    values, places = tf.math.top_k(tf.reshape(rows, (-1, width, count * GROUP)), count)
    chosen = tf.gather(tf.reshape(best, (-1, width, count)), places // GROUP, batch_dims=2)
    return values, chosen * GROUP + places % GROUP


class LeavingBeam(Beam):
    """Beam search whose finished hypotheses leave the beam; the search of a sentence ends when there are W of them.

    At each step the 2 W likeliest tokens after the W hypotheses are candidates. Of the first W, those that end are
    finished; the W likeliest others go on. Length and coverage penalties order the finished hypotheses and decide
    nothing before. In `Beam`, finished hypotheses compete for the W places, and all W have to be finished.

    The strategy holds 2 W hypotheses: W that go on, then W that are finished.

    Args:
        beam_size: W.
        alpha, form, most: see `Beam`.

    Source: CTranslate2 4.8's beam search with patience 1; Kasai et al. 2022 ("first come, first served").
    """

    def __init__(
        self, beam_size: tf.Tensor | int, alpha: tf.Tensor | float = 0.0, form: str = "gnmt", most: int = 0
    ) -> None:
        super().__init__(2 * beam_size, alpha, form, 2 * most)
        self.beam_size = beam_size

    def choose(self, step: Step) -> Choice:
        batch, beam, places = tf.shape(step.logits)[0], self.beam_size, tf.range(self.width)
        over = tf.reduce_all(step.finished[:, :beam], axis=1, keepdims=True)  # (B, 1)
        likely, tokens = likeliest(step.logits[:, :beam], min(self.candidates, step.logits.shape[-1]))  # (B, W, C)
        gains = likely - step.normalisers[:, :beam]
        best = _best(step.log_probabilities[:, :beam, tf.newaxis] + gains, tokens, gains, 2 * beam)  # (B, 2 W) each
        # The options: to stay, for each of the last W, which are empty places at first; then the candidates.
        nothing = tf.fill((batch, beam), tf.where(step.position == 0, END_ID, PAD_ID))
        parents = tf.concat([tf.tile(places[tf.newaxis, beam:], (batch, 1)), best.parent], axis=1)  # (B, 3 W)
        tokens = tf.concat([nothing, best.token], axis=1)
        gains = tf.concat([tf.zeros((batch, beam)), best.gain], axis=1)

        totals = tf.gather(step.log_probabilities, parents, batch_dims=1) + gains
        scores = self.score(totals, tf.gather(step.lengths, parents, batch_dims=1))
        scores += tf.gather(tf.zeros_like(step.log_probabilities) + step.bonus, parents, batch_dims=1)
        option = tf.range(3 * beam)
        ends = (tokens == END_ID) & (option >= beam)
        complete = (option < beam) | (ends & (option < 2 * beam) & ~over)
        scores = tf.where(complete & (totals > IMPOSSIBLE / 2), scores, IMPOSSIBLE)
        scores, done = tf.math.top_k(scores, beam)
        full = scores[:, -1:] > IMPOSSIBLE  # (B, 1)
        _, going = tf.math.top_k(tf.where(ends, 2 * IMPOSSIBLE, totals)[:, beam:], beam)

        chosen = tf.concat([going + beam, done], axis=1)  # (B, 2 W)
        parent, token, gain = (tf.gather(part, chosen, batch_dims=1) for part in (parents, tokens, gains))
        idle = over & (places < beam)
        given_up = full & ~over & (places < beam)
        token = tf.where(idle, PAD_ID, tf.where(given_up, END_ID, token))
        gain = tf.where(idle, 0.0, tf.where(given_up, IMPOSSIBLE, gain))
        return Choice(tf.where(idle, places, parent), token, gain)
