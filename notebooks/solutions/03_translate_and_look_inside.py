"""Solutions of notebook 3, of the default run: `python solutions/03_translate_and_look_inside.py`."""

import numpy as np

from transformer import Translator, plots
from transformer.config.settings import DEFAULT_RUN
from transformer.data import phrasebook
from transformer.metrics.text import bleu


def first(found):
    """Return the best translation of each sentence."""
    return [best[0] for best in found]


def exercise_1(run, sentences, references, sizes=(4, 16)):
    """Return the mean log P and BLEU of beams of several sizes.

    A wider beam finds likelier translations. BLEU hardly gains and may lose: the likeliest text is not the best
    one, and without a length penalty it is too short.
    """
    beams = {size: Translator.load(run, beam_size=size, length_penalty=0.0) for size in sizes}
    found = {size: first(beam.translate(sentences)) for size, beam in beams.items()}
    return {
        size: (np.mean([t.log_probability for t in each]), bleu([t.text for t in each], references, "en").score)
        for size, each in found.items()
    }


def exercise_2(run, sentences):
    """Return the mean length with and without a coverage penalty, which asks that every source token is looked at."""
    return [
        np.mean([len(t.tokens) for t in first(Translator.load(run, coverage_penalty=beta).translate(sentences))])
        for beta in (0.0, 0.2)
    ]


def exercise_3(run, sentence, prefix):
    """Return a translation that begins with a prefix: the rest is what the model thinks most likely after it."""
    return first(Translator.load(run).translate([sentence], prefixes=[prefix]))[0].text


def exercise_4(run, sentence):
    """Return the picture of all heads, and how far each attends from the diagonal (in shares of the source)."""
    (found,) = first(Translator.load(run).translate([sentence], with_attention=True, with_heads=True))
    layers, heads, rows, columns = found.heads.shape
    away = np.abs(np.arange(columns) / columns - np.arange(rows)[:, np.newaxis] / rows)
    return plots.attention_map(found, heads=True), (found.heads * away).sum(axis=-1).mean(axis=-1)


def exercise_5(run, sentences):
    """Return sentences and translations, the least sure first, by the mean log P of a token."""
    found = first(Translator.load(run).translate(sentences))
    sure = [np.mean(t.token_log_probabilities) for t in found]
    return [(sure[i], sentences[i], found[i].text) for i in np.argsort(sure)]


if __name__ == "__main__":
    run, free = f"../{DEFAULT_RUN}", phrasebook.generate("free")
    sources, references = [each.pt for each in free], [each.en for each in free]
    print("1: log P and BLEU by beam size:", exercise_1(run, sources, references))
    print("2: tokens, without and with the penalty:", exercise_2(run, sources))
    print("3:", exercise_3(run, "Minha mãe quer comprar um carro novo amanhã.", "Tomorrow"))
    print("4: distance from the diagonal, layers x heads:", exercise_4(run, sources[0])[1].round(2), sep="\n")
    print("5:", *exercise_5(run, sources)[:10], sep="\n")
