"""The other rule of beam search for hypotheses that end: they step aside, and enough of them end the search.

Axes: B sentences, W beam size, V vocabulary, C candidates of a hypothesis.
"""

from __future__ import annotations

import tensorflow as tf

from transformer.config.sections import SearchConfig
from transformer.ids import END_ID, PAD_ID
from transformer.inference.strategies import IMPOSSIBLE, Beam, Choice, Sample, Strategy, likeliest


class Aside(Beam):
    """Beam search whose finished hypotheses leave the beam; the search of a sentence ends when there are W of them.

    At each step the 2 W likeliest tokens after the W hypotheses are candidates. Of the first W, those that end are
    finished; the W likeliest others go on. Length and coverage penalties order the finished hypotheses and decide
    nothing before. In `Beam`, finished hypotheses compete for the W places, and all W have to be finished.

    The strategy holds 2 W hypotheses: W that go on, then W that stand aside.

    Args:
        beam_size: W.
        alpha: exponent of `length_penalty`.
        form: of `length_penalty`.
        most: upper bound of W, where W is a tensor.

    Source: CTranslate2 4.8's beam search with patience 1; Kasai et al. 2022 ("first come, first served").
    """

    def __init__(
        self, beam_size: tf.Tensor | int, alpha: tf.Tensor | float = 0.0, form: str = "gnmt", most: int = 0
    ) -> None:
        super().__init__(2 * beam_size, alpha, form, 2 * most)
        self.beam_size = beam_size

    def choose(
        self,
        logits: tf.Tensor,
        normalisers: tf.Tensor,
        log_probabilities: tf.Tensor,
        lengths: tf.Tensor,
        finished: tf.Tensor,
        position: tf.Tensor,
        bonus: tf.Tensor | float,
    ) -> Choice:
        batch, beam, places = tf.shape(logits)[0], self.beam_size, tf.range(self.width)
        over = tf.reduce_all(finished[:, :beam], axis=1, keepdims=True)  # (B, 1)
        count = min(self.candidates, logits.shape[-1])
        likely, tokens = likeliest(logits[:, :beam], count)  # (B, W, C)
        gains = likely - normalisers[:, :beam]
        reached = log_probabilities[:, :beam, tf.newaxis] + gains
        _, best = tf.math.top_k(tf.reshape(reached, (batch, beam * count)), 2 * beam)  # (B, 2 W)
        tokens, gains = (
            tf.gather(tf.reshape(part, (batch, beam * count)), best, batch_dims=1) for part in (tokens, gains)
        )
        # The options: to stay aside, for each of the last W, which are empty places at first; then the candidates.
        nothing = tf.fill((batch, beam), tf.where(position == 0, END_ID, PAD_ID))
        parents = tf.concat([tf.tile(places[tf.newaxis, beam:], (batch, 1)), best // count], axis=1)  # (B, 3 W)
        tokens = tf.concat([nothing, tokens], axis=1)
        gains = tf.concat([tf.zeros((batch, beam)), gains], axis=1)

        totals = tf.gather(log_probabilities, parents, batch_dims=1) + gains
        scores = self.score(totals, tf.gather(lengths, parents, batch_dims=1))
        scores += tf.gather(tf.zeros_like(log_probabilities) + bonus, parents, batch_dims=1)
        option = tf.range(3 * beam)
        ends = (tokens == END_ID) & (option >= beam)
        complete = (option < beam) | (ends & (option < 2 * beam) & ~over)
        scores = tf.where(complete & (totals > IMPOSSIBLE / 2), scores, IMPOSSIBLE)
        scores, aside = tf.math.top_k(scores, beam)
        full = scores[:, -1:] > IMPOSSIBLE  # (B, 1)
        _, going = tf.math.top_k(tf.where(ends, 2 * IMPOSSIBLE, totals)[:, beam:], beam)

        chosen = tf.concat([going + beam, aside], axis=1)  # (B, 2 W)
        parent, token, gain = (tf.gather(part, chosen, batch_dims=1) for part in (parents, tokens, gains))
        idle = over & (places < beam)
        given_up = full & ~over & (places < beam)
        token = tf.where(idle, PAD_ID, tf.where(given_up, END_ID, token))
        gain = tf.where(idle, 0.0, tf.where(given_up, IMPOSSIBLE, gain))
        return Choice(tf.where(idle, places, parent), token, gain)


def strategy_for(
    search: SearchConfig,
    width: tf.Tensor | int | None = None,
    alpha: tf.Tensor | float | None = None,
    most: int = 0,
) -> Strategy:
    """Return what a config asks for.

    Args:
        search: the config.
        width: number of hypotheses where it is known only when a graph runs; None: the config's `beam_size`.
        alpha: exponent of the length penalty, likewise; None: the config's.
        most: upper bound of `width`, where that is a tensor.
    """
    width = search.beam_size if width is None else width
    alpha = search.length_penalty if alpha is None else alpha
    if search.temperature:
        return Sample(width, search.temperature, search.top_k, search.top_p, search.seed)
    beam = Aside if search.finished == "aside" and (most or search.beam_size) > 1 else Beam
    return beam(width, alpha, search.penalty, most)
