r"""Write a search strategy of your own: epsilon sampling.

    python examples/new_strategy.py

Sampling draws nonsense now and then, because thousands of tokens of tiny probability add up. Epsilon sampling never
draws a token below a probability that is given. A strategy is a subclass of `Strategy` that chooses the next token of
every hypothesis; the loop, the cache and the limits are the same for all.

To choose it by a setting, add that to `SearchConfig` in `transformer/config/settings.py` and ask for it in
`strategy_for` in `transformer/search/searcher.py`.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from transformer.ids import END_ID, START_ID
from transformer.models.transformer import Transformer
from transformer.search.hypotheses import Hypotheses
from transformer.search.loop import decode
from transformer.search.sampling import Sample
from transformer.search.strategy import IMPOSSIBLE, Choice, Step


class Epsilon(Sample):
    """`Sample` that draws no token whose probability, before the temperature, is below epsilon.

    Where all are below, the likeliest remains.

    Args:
        width: W, samples of a sentence.
        epsilon: least probability; above 0.
        **options: of `Sample`.

    Source: Hewitt et al. 2022; Freitag et al. 2023, who use it for translation.
    """

    def __init__(self, width: int, epsilon: float, **options: Any) -> None:
        super().__init__(width, **options)
        self.epsilon = epsilon

    def choose(self, step: Step) -> Choice:
        likeliest = tf.reduce_max(step.logits, axis=-1, keepdims=True)  # (B, W, 1)
        least = tf.minimum(step.normalisers + math.log(self.epsilon), likeliest)
        return super().choose(step._replace(logits=tf.where(step.logits < least, IMPOSSIBLE, step.logits)))


def main() -> Hypotheses:
    """Print three samples of what an untrained model writes."""
    keras.utils.set_random_seed(1)
    model = Transformer(1, 16, 2, 32, 20, 20, 32, 32)
    model.build()
    source_ids = tf.constant([[START_ID, 5, 6, 7, END_ID]])
    found = decode([model], source_ids, tf.constant([8]), Epsilon(3, 0.02, seed=4))
    for ids, score in zip(found.ids[0].numpy(), found.scores[0].numpy(), strict=True):
        print(f"{score:.2f}", *ids)
    return found


if __name__ == "__main__":
    main()
