"""Solutions of notebook 7, on the files that it wrote: `python solutions/07_fine_tuning.py`."""

import collections
import contextlib
import csv
import io
import random
from pathlib import Path

from transformer import Predictor
from transformer.commands import train
from transformer.config.presets import DEFAULT_CONFIGS
from transformer.data import phrasebook

TUNED = ("--max-steps", "160", "--set", "training.validate_every=20", "--set", "training.warmup_steps=20")
TUNED += ("--set", "task.pooling=mean", "--set", "training.peak_learning_rate=0.001", "--set", "data.batch_tokens=512")
TUNED += ("--set", "data.max_tokens=64", "--set", "training.label_smoothing=0.0")
SAME = ("--set", "model.dff=512", "--set", "model.norm_first=true", "--set", "model.positions=rotary")  # as its BERT


def trained(task, run, *words):
    """Do what `transformer train` does with these words; returns a predictor of the run."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log), contextlib.redirect_stdout(io.StringIO()):
        if train.main(["--task", task, "--run", str(run), *map(str, words)]):
            raise RuntimeError(log.getvalue())
    return Predictor.load(run)


def accuracy(predictor, rows):
    """Return the share of (text, label) that are labelled right."""
    found = predictor.predict([text for text, _ in rows])
    return sum(one.label == label for one, (_, label) in zip(found, rows, strict=True)) / len(rows)


def write(path, rows):
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


def frozen(layers):
    """Return the words that train nothing but the head, which may learn faster then."""
    return ["--set", f"training.freeze_layers={layers}", "--set", "training.peak_learning_rate=0.01"]


def first_of_each(rows, count):
    """Return the first (text, label) of each label, so many."""
    seen, kept = collections.Counter(), []
    for row in rows:
        seen[row[1]] += 1
        kept += [row] if seen[row[1]] <= count else []
    return kept


def exercise_1(folder, encoder, rows, test, counts, *words, layers=2):
    """Return the accuracy of each way by how many examples there are of each label.

    With few labels, what pre-training knows is worth most; with many, the ways come together.
    """
    found = {}
    for count in counts:
        files = ["--train", write(folder / f"{count}.csv", first_of_each(rows, count)), *words]
        start = ["--init-from", encoder]
        ways = {"random": SAME, "frozen": [*start, *frozen(layers)], "fine-tuned": start}
        found[count] = {
            name: accuracy(trained("classification", folder / f"{name}_{count}", *files, *more), test)
            for name, more in ways.items()
        }
    return found


def exercise_2(folder, encoder, test, *words):
    """Return the accuracies with one frozen layer, and with lower layers that learn half as fast as those above.

    Both keep what is general in the lower layers. With 60 sentences the differences are often within chance: try
    several seeds.
    """
    ways = {"freeze_layers=1": "training.freeze_layers=1", "layer_decay=0.5": "training.layer_decay=0.5"}
    return {
        name: accuracy(trained("classification", folder / name, "--init-from", encoder, "--set", setting, *words), test)
        for name, setting in ways.items()
    }


def exercise_3(folder, text, labels, test, steps, reading, *words, layers=2):
    """Return the accuracy of frozen and of fine-tuned encoders by the steps of their pre-training.

    Frozen gains most: it has nothing but what pre-training left. Random weights gain nothing, of course.

    Args:
        folder: for the runs.
        text: file of a sentence a line, and labels, file of a table.
        test: (text, label) to score with.
        steps: of each pre-training.
        reading, words: of the command line, for pre-training and for fine-tuning.
        layers: of the encoder.
    """
    found = {}
    for count in steps:
        encoder = folder / f"bert_{count}"
        words_of_text = ["--config", DEFAULT_CONFIGS["masked-lm"], "--train", text, *reading]
        words_of_text += ["--set", f"training.max_steps={count}"]
        trained("masked-lm", encoder, *words_of_text)
        for name, more in {"frozen": frozen(layers), "fine-tuned": []}.items():
            run = folder / f"{name}_{count}_steps"
            predictor = trained("classification", run, "--train", labels, "--init-from", encoder, *words, *more)
            found[name, count] = accuracy(predictor, test)
    return found


def exercise_4(folder, encoder, rows, rare, test, *words):
    """Return the share of a rare label's test texts that is found, as it is and with balanced weights.

    One example hardly ever decides: the row of the confusion matrix is empty but for other columns. Balanced, this
    example counts as much as all those of another label together.
    """
    kept, one = [row for row in rows if row[1] != rare], [row for row in rows if row[1] == rare][:1]
    files = ["--train", write(folder / "rare.csv", [*kept, *one]), "--init-from", encoder, *words]
    wanted = [row for row in test if row[1] == rare]
    return {
        weights: accuracy(
            trained("classification", folder / weights, *files, "--set", f"task.class_weights={weights}"), wanted
        )
        for weights in ("none", "balanced")
    }


def exercise_5(run, train_file, encoder, *words):
    """Return the F1 by kind of entity of taggers from random weights and from an encoder.

    Kinds that are told by the word itself suffer most, such as food and things: a word that was in no labelled
    sentence is new to the one, and known to the other. Numbers and times look alike, and suffer less.
    """
    found = {}
    for name, more in {"random": [], "pre-trained": ["--init-from", encoder]}.items():
        predictor = trained("tagging", Path(run) / name, "--train", train_file, *more, *words)
        task = predictor.task
        examples = list(task.read(task.config).examples("validation"))
        predicted = predictor.predict(task.inputs_of(examples))
        found[name] = {each.name: each.f1 for each in task.by_class(examples, predicted)}
    return found


if __name__ == "__main__":
    home, folder = Path("../runs/notebook_7"), Path("../runs/solutions_7")
    folder.mkdir(parents=True, exist_ok=True)
    rows, test = (
        [(row["text"], row["label"]) for row in csv.DictReader((home / f"{name}.csv").open(encoding="utf-8"))]
        for name in ("train", "test")
    )
    files = ["--train", home / "train.csv", *TUNED]
    every = random.Random(1).sample(phrasebook.generate("train"), 10_000)
    many = [(sentence.en, sentence.pattern.partition(".")[0]) for sentence in every]
    print("1:", exercise_1(folder, home / "bert", many, test, (3, 30, 100), *TUNED))
    print("2:", exercise_2(folder, home / "bert", test, *files))
    reading = ["--set", "training.warmup_steps=40", "--set", "training.peak_learning_rate=0.003"]
    reading += ["--set", "model.positions=rotary"]
    labels = home / "train.csv"
    print("3:", exercise_3(folder, home / "unlabelled.txt", labels, test, (100, 1500), reading, *TUNED))
    print("4:", exercise_4(folder, home / "bert", rows, "weather", test, *TUNED))
    tagging = ["--max-steps", 200, "--set", "training.peak_learning_rate=0.002", "--set", "data.max_tokens=64"]
    print("5:", exercise_5(folder, home / "train.conll", home / "bert", *tagging))
