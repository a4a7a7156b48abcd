"""Solutions of notebook 6, of the run that it left: `python solutions/06_bert.py`."""

import collections
import contextlib
import io
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer import plots
from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import RunDirectory
from transformer.data import phrasebook
from transformer.ids import END_ID, MASK_ID, START_ID
from transformer.training.trainer import Trainer


def row(task, text):
    """Return the ids of a text without masks, with its ends."""
    return np.array([START_ID, *task.tokenizer.encode([text])[0], END_ID], np.int32)


def trained(config, run, **task):
    """Train what a config describes with these settings of the task; returns the validations' records."""
    with contextlib.redirect_stderr(io.StringIO()):
        Trainer(config.override({"task": task}), RunDirectory(run)).train()
    return [record for record in plots.read_metrics(run) if record["event"] == "validation"]


def exercise_1(config, folder, rates=(0.05, 0.5)):
    """Return the masked accuracy by mask rate.

    Few masks teach little in a step, and many leave little to look at. The accuracies are not of the same task:
    with half of the tokens hidden, each is harder to find. To compare, score both runs with the same masks.
    """
    return {
        rate: [r["masked_accuracy"] for r in trained(config, folder / f"rate_{rate}", mask_rate=rate)] for rate in rates
    }


def exercise_2(task, network, texts):
    """Return the mean probability of the token that is read, at places that were not chosen.

    The loss never looks at these places. But one chosen token in ten stays as it is, and the model cannot know
    which: where a token fits, it should answer that token. A model that knew would have a loss of 0 there.
    """
    found = []
    for text in texts:
        ids = row(task, text)
        logits, _ = network({"input_ids": ids[np.newaxis]})
        p = tf.nn.softmax(logits[0]).numpy()
        found += [p[i, token] for i, token in enumerate(ids) if 0 < i < len(ids) - 1]
    return float(np.mean(found))


def exercise_3(config, folder):
    """Return the masked accuracies with and without next sentences.

    Without, every step is spent on the masks. Later systems leave it out (Liu et al. 2019, section 4.2).
    """
    return [
        [r["masked_accuracy"] for r in trained(config, folder / f"pairs_{wanted}", next_sentence=wanted)]
        for wanted in (True, False)
    ]


def exercise_4(task, network, text):
    """Return what two masks are filled with together, and one after the other.

    Both places are answered at once, each as if the other were still unknown: P(a, b) is taken for P(a) P(b).
    Filling the surer one first, and asking again, makes them agree.
    """
    (filled,) = task.predict(network, [text], top_k=1)
    together = [mask.candidates[0].text for mask in filled.masks]
    ids = task.masked_ids(text)
    while MASK_ID in ids:
        p = tf.nn.softmax(network({"input_ids": ids[np.newaxis]})[0][0]).numpy()
        places = np.flatnonzero(ids == MASK_ID)
        place = max(places, key=lambda i: p[i, MASK_ID + 1 :].max())
        ids[place] = MASK_ID + 1 + p[place, MASK_ID + 1 :].argmax()
    return together, task.tokenizer.decode(ids[1:-1])


def exercise_5(task, network, labelled):
    """Return the share of tokens that are found by topic, of (topic, text): each token is masked alone."""
    right, count = collections.Counter(), collections.Counter()
    for topic, text in labelled:
        ids = row(task, text)
        places = np.arange(1, len(ids) - 1)
        copies = np.tile(ids, (len(places), 1))
        copies[range(len(places)), places] = MASK_ID
        logits, _ = network({"input_ids": copies, "masked_lm_positions": places[:, np.newaxis]})
        right[topic] += int(np.sum(logits[:, 0].numpy().argmax(axis=1) == ids[places]))
        count[topic] += len(places)
    return {topic: right[topic] / count[topic] for topic in count}


if __name__ == "__main__":
    run, folder = RunDirectory("../runs/notebook_6/bert"), Path("../runs/solutions_6")
    task, network = load(run)
    test = [(each.pattern.partition(".")[0], each.en) for each in phrasebook.generate("test")][::10]
    print("2:", exercise_2(task, network, [text for _, text in test]))
    print("4:", *exercise_4(task, network, "My [MASK] [MASK] coffee every night."), sep="\n   ")
    print("5:", exercise_5(task, network, test))
    print("1:", exercise_1(run.config(), folder))
    print("3:", exercise_3(run.config(), folder))
