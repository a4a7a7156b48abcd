"""Solutions of notebook 5, of the runs that it left: `python solutions/05_language_model.py`."""

import collections
import contextlib
import io
import random
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer import Generator, plots
from transformer.checkpoints.run_directory import RunDirectory
from transformer.data import phrasebook
from transformer.training.trainer import Trainer


def exercise_1(train, test, vocabulary, order=2, shares=(0.5, 0.9, 0.99)):
    """Return the perplexity of counts that leave 1 - share to the order below, by share.

    Args:
        train, test: rows of ids, each with its start.
        vocabulary: how many ids there are.

    A context that was seen often is worth trusting (0.99), one that was seen once is not (0.5). At 1, a token that
    never followed its context would be impossible, and one such token makes the perplexity infinite.
    """
    follows = [collections.defaultdict(collections.Counter) for _ in range(order + 1)]
    for row in train:
        for i in range(1, len(row)):
            for n in range(order + 1):
                follows[n][tuple(row[max(0, i - n) : i])][row[i]] += 1
    found = {}
    for share in shares:
        logs = []
        for row in test:
            for i in range(1, len(row)):
                p = 1 / vocabulary
                for n in range(order + 1):
                    count = follows[n].get(tuple(row[max(0, i - n) : i]))
                    if count:
                        p = share * count[row[i]] / count.total() + (1 - share) * p
                logs.append(np.log(p))
        found[share] = float(np.exp(-np.mean(logs)))
    return found


def exercise_2(generator, text):
    """Return how many nats a sentence is likelier than the same words in another order."""
    words = text.split()
    random.Random(1).shuffle(words)
    right, wrong = generator.score([text, " ".join(words)], end=True)
    return right.log_probability - wrong.log_probability


def exercise_3(generator, prompt, min_p=0.2, samples=200):
    """Return the ids that `min_p` keeps, computed, and those that were sampled.

    It keeps a token that is at least so likely as this share of the likeliest one.
    """
    p = tf.nn.softmax(generator.network(generator.prompt(prompt)[np.newaxis])[0, -1]).numpy()
    kept = {int(token) for token in np.flatnonzero(p >= min_p * p.max())}
    sampler = generator.with_search(temperature=1.0, max_length=1, min_p=min_p)
    return kept, {text.ids[0] for text in sampler.generate([prompt], samples=samples)[0]}


def exercise_4(generator, text):
    """Return a text's perplexity a token, and its bits a byte.

    A character is a larger step than a byte, and a subword a larger one still: their perplexities are of other
    units. The bits that the whole text costs, divided by its bytes, are not.
    """
    (score,) = generator.score([text])
    assert np.isclose(score.bits_per_byte, score.tokens / score.bytes * np.log2(score.perplexity))
    return score.perplexity, score.bits_per_byte


def exercise_5(generator, seen, unseen):
    """Return the perplexity of texts that the model has seen, and of others.

    A model that has learned its training text by heart would have 1 there, and far more on the others.
    """
    totals = []
    for texts in (seen, unseen):
        scores = generator.score(texts, end=True)
        totals.append(np.exp(-sum(s.log_probability for s in scores) / sum(s.tokens for s in scores)))
    return totals


def exercise_6(config, run, steps=1000):
    """Return the validation perplexities of a longer training.

    They fall on: the network learns slowly what counts know at once, and then what they cannot know.
    """
    with contextlib.redirect_stderr(io.StringIO()):
        Trainer(config.override({"training": {"max_steps": steps}}), RunDirectory(run)).train()
    return [each["perplexity"] for each in plots.read_metrics(run) if each["event"] == "validation"]


if __name__ == "__main__":
    generator = Generator.load("../runs/notebook_5/gpt")
    seen = Path("../runs/notebook_5/train.txt").read_text(encoding="utf-8").splitlines()
    unseen = [sentence.en for sentence in phrasebook.generate("test")]
    ids = [[generator.prompt(text).tolist() for text in texts] for texts in (seen, unseen[::5])]
    print("1:", exercise_1(*ids, generator.network.vocab_size))
    print("2:", exercise_2(generator, "My mother is going to buy a red dress tomorrow."), "nats")
    print("3:", *exercise_3(generator, "She is going to"))
    print("4:", exercise_4(Generator.load("../runs/notebook_5_mine/run"), "def main(argv=None):\n    return 0\n"))
    print("5:", exercise_5(generator, seen[:500], unseen[:500]))
    config = RunDirectory("../runs/notebook_5/gpt").config()
    print("6:", exercise_6(config, "../runs/solutions_5"))
