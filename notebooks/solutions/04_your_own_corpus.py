"""Solutions of notebook 4, on the files that it wrote: `python solutions/04_your_own_corpus.py`."""

import contextlib
import io
import random
from pathlib import Path

from transformer import Translator, plots
from transformer.commands import train
from transformer.metrics.text import bleu


def trained(*words):
    """Do what `transformer train` does with these words; returns what it reported."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log), contextlib.redirect_stdout(io.StringIO()):
        if train.main([str(word) for word in words]):
            raise RuntimeError(log.getvalue())
    return log.getvalue()


def lines(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


def score(run, sources, references, language):
    """Return the BLEU of a run's translations."""
    found = Translator.load(run).translate(sources)
    return bleu([best[0].text for best in found], references, language).score


def exercise_1(config, run, plain, *more):
    """Return the picture of a run with averaged weights beside one without.

    The average moves slowly: its BLEU is smoother, and usually the better one until the learning rate has fallen.
    """
    trained("--config", config, "--run", plain, "--set", "training.averaging=0", *more)
    return plots.training_curves({"averaged": run, "plain": plain})


def exercise_2(source, target, run, *more):
    """Train the other direction: swap the files and the languages. Returns what training reported."""
    languages = ["--source-language", Path(target).suffix[1:], "--target-language", Path(source).suffix[1:]]
    return trained("--source", target, "--target", source, *languages, "--run", run, *more)


def exercise_3(run, pairs, adapted, old, new, languages, *more):
    """Train further from a run; returns the BLEU of both runs on old and on new sentences.

    Args:
        run, adapted: the run to start from, and the new one.
        pairs: TSV file of source TAB target.
        old, new: (sources, references) of sentences like those of the run, and like those of the pairs.
        languages: codes of source and target.

    What is new is learned within some steps, and what is old is forgotten, unless some of it is among the new pairs.
    """
    codes = ["--source-language", languages[0], "--target-language", languages[1]]
    trained("--tsv", pairs, "--init-from", run, "--run", adapted, *codes, *more)
    return {str(each): [score(each, *sentences, languages[1]) for sentences in (old, new)] for each in (run, adapted)}


def exercise_4(source, target, folder, run, *more):
    """Add pairs with tags, empty sides and duplicates; returns the line that tells what cleaning did."""
    left, right = lines(source), lines(target)
    left += [f"<b>{left[0]}</b>", left[1], left[2]]
    right += [f"<i>{right[0]}</i>", "", right[2]]
    paths = [Path(folder) / f"dirty{Path(path).suffix}" for path in (source, target)]
    for path, texts in zip(paths, (left, right), strict=True):
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    log = trained("--source", paths[0], "--target", paths[1], "--run", run, *more)
    return next(line for line in log.splitlines() if line.startswith("training examples"))


def exercise_5(run, sources, references, language, edges):
    """Return the picture of BLEU by length. Long sentences score lower: more of them can go wrong."""
    translator = Translator.load(run)
    texts = [best[0].text for best in translator.translate(sources)]
    lengths = [len(row) - 2 for row in translator.encode(sources)]
    return plots.length_bleu({"test": (lengths, texts, references)}, edges, language)


if __name__ == "__main__":
    mine = Path("../runs/notebook_4")
    source, target, config = mine / "train.en", mine / "train.zh", mine / "small.toml"
    exercise_1(config, mine / "run", mine / "plain").savefig(mine / "averaging.png")
    recipe = ["--preset", "tiny", "--max-steps", 400, "--set", "training.warmup_steps=80"]
    print("2:", exercise_2(source, target, mine / "zh_en", *recipe).splitlines()[-1])
    from transformer.data import phrasebook

    everyday = [(each.en, each.zh) for each in phrasebook.generate("everyday_train")]
    chosen = random.Random(1).sample(everyday, 500)
    (mine / "new.tsv").write_text("".join(f"{en}\t{zh}\n" for en, zh in chosen), encoding="utf-8")
    test = [(each.en, each.zh) for each in phrasebook.generate("everyday")][:300]
    old = lines(mine / "test.en"), lines(mine / "test.zh")
    more = ["--max-steps", 100]
    print(
        "3:",
        exercise_3(
            mine / "run", mine / "new.tsv", mine / "adapted", old, tuple(zip(*test, strict=True)), ("en", "zh"), *more
        ),
    )
    print("4:", exercise_4(source, target, mine, mine / "dirty", *recipe))
    exercise_5(mine / "run", *old, "zh", [1, 6, 9, 12, 15, 40]).savefig(mine / "by_length.png")
