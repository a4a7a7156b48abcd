"""Solutions of notebook 8, of the runs that it left: `python solutions/08_meaning.py`."""

import contextlib
import io
import random
from pathlib import Path

from transformer import Embedder, plots
from transformer.checkpoints.run_directory import RunDirectory
from transformer.metrics.retrieval import accuracy_at, ranks
from transformer.training.trainer import Trainer


def trained(config, run):
    """Train what a config describes; returns the last record of a validation."""
    with contextlib.redirect_stderr(io.StringIO()):
        Trainer(config, RunDirectory(run)).train()
    return [record for record in plots.read_metrics(run) if record["event"] == "validation"][-1]


def found(embedder, first, second, size=0):
    """Return the share of the first texts that are nearest to their partner among the second."""
    return accuracy_at(ranks(*(embedder.embed(side, size=size) for side in (first, second)), second), 1)


def exercise_1(config, folder, first, second, temperatures=(0.5, 0.01)):
    """Return by temperature the share that is found, and the mean cosine of partners.

    At 0.5 even perfect vectors have a high loss, since cosines end at 1 and -1: all of them are drawn to these ends.
    At 0.01 the nearest wrong answer decides alone, and a cosine that is a little higher than that is enough.
    """
    results = {}
    for temperature in temperatures:
        run = folder / f"temperature_{temperature}"
        trained(config.override({"task": {"temperature": temperature}}), run)
        embedder = Embedder.load(run)
        one, other = (embedder.embed(side) for side in (first, second))
        results[temperature] = found(embedder, first, second), float((one * other).sum(axis=1).mean())
    return results


def exercise_2(config, folder, sizes=(256, 2048)):
    """Return the share of validation texts that are found, by the tokens of a batch.

    Each other pair of the batch is a wrong answer. With few of them each step teaches less, and the task is easier than
    the search among all sentences that it is to prepare for.
    """
    return {
        size: trained(config.override({"data": {"batch_tokens": size}}), folder / f"batch_{size}")["accuracy"]
        for size in sizes
    }


def exercise_3(embedder, texts, seed=1):
    """Return the mean cosine of texts and their words in another order: 1 for a bag, which knows no order."""
    order, turned = random.Random(seed), []
    for text in texts:
        words = text.split()
        order.shuffle(words)
        turned.append(" ".join(words))
    return float((embedder.embed(texts) * embedder.embed(turned)).sum(axis=1).mean())


def exercise_4(config, run, embedder, first, second, sizes=(8, 16, 32)):
    """Return the shares that are found with the first numbers of each vector: of a run, and of one trained for that.

    Nobody told the first run which numbers are to matter most. The other has learned to say as much as it can with the
    first of `sizes` (Kusupati et al. 2022).
    """
    wanted = [str(sizes[0]), str(embedder.size)]
    trained(config.override({"task": {"sizes": wanted}}), run)
    nested = Embedder.load(run)
    return {size: (found(embedder, first, second, size), found(nested, first, second, size)) for size in sizes}


def exercise_5(denoising, translation, folder):
    """Return the translator's BLEU, or loss where none is measured, after each of two kinds of noise.

    A mask says where something is missing, a deleted token does not: so the model has to judge every place. Both teach
    the words and how they go together; which is better differs by data (Lewis et al. 2020, Table 1).
    """
    results = {}
    for name, noise in {"infilled": {}, "deleted": {"infill_rate": 0.0, "delete_rate": 0.3}}.items():
        trained(denoising.override({"task": noise}), folder / f"{name}_text")
        start = {"training": {"init_from": str(folder / f"{name}_text")}}
        last = trained(translation.override(start), folder / f"{name}_translator")
        results[name] = last.get("bleu", last["loss"])
    return results


if __name__ == "__main__":
    home, folder = Path("../runs/notebook_8"), Path("../runs/solutions_8")
    rows = (home / "valid.tsv").read_text(encoding="utf-8").splitlines()
    first, second = (list(side) for side in zip(*(row.split("\t") for row in rows), strict=True))
    config = RunDirectory(home / "meaning").config()
    embedders = {name: Embedder.load(home / name) for name in ("bag", "meaning")}
    print("1:", exercise_1(config, folder, first, second))
    print("2:", exercise_2(config, folder))
    print("3:", {name: exercise_3(each, second) for name, each in embedders.items()})
    print("4:", exercise_4(config, folder / "sizes", embedders["meaning"], first, second))
    runs = (RunDirectory(home / name).config() for name in ("denoised", "denoised first"))
    print("5:", exercise_5(*runs, folder))
