"""The documents' two functions: `evaluate` and `translate` of one sentence."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from transformer.config.settings import DEFAULT_RUN
from transformer.ids import START_ID
from transformer.inference.translator import Translator
from transformer.system.messages import say
from transformer.system.tensorflow import have_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


@lru_cache(maxsize=1)
def default_translator() -> Translator:
    """Load the translator of the default run once."""
    return Translator.load(DEFAULT_RUN)


def evaluate(sentence: str, translator: Translator | None = None) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Return the ids of a sentence's translation and the attention weights over it.

    Args:
        sentence: the text.
        translator: None means that of the default run, which training without arguments makes.

    Returns:
        ids (T,) int32, start token first, and the attention weights of every decoder layer as `Decoder` returns them,
        (1, H, T, T or S).

    Raises:
        UserError: the default run was not trained yet.

    Source: document 000, section 5.3.3.
    Deviation: the document's greedy loop computes every position anew at each token; here the configured search with a
        cache finds the ids, then one pass over them gives the weights. The end token is left out, as there.
    """
    have_tensorflow()
    import tensorflow as tf

    translator = translator or default_translator()
    row = translator.reader.fit(translator.encode([sentence])[0])
    source_ids = tf.constant([row], tf.int32)
    tokens = tf.zeros((0,), tf.int32)
    if len(row) > 2:  # else an empty sentence, whose translation is empty
        found = translator.find([row])
        tokens = found.ids[0, 0, : found.lengths[0, 0] - found.finished[0, 0]]
    ids = tf.concat([[START_ID], tokens], axis=0)[: translator.max_positions]
    _, attention_weights = translator.transformer.decode(source_ids, ids[tf.newaxis], training=False)
    return ids, attention_weights


def translate(sentence: str, translator: Translator | None = None) -> str:
    """Return the translation of a sentence; see `evaluate` for the arguments.

    Source: document 000, section 5.3.3.
    Deviation: warnings (an empty or over-long sentence) go to stderr.
    """
    best = (translator or default_translator()).translate([sentence])[0][0]
    for warning in best.warnings:
        say(f"warning: {warning}")
    return best.text
