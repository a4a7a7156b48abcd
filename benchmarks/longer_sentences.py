r"""Train on short sentences and translate longer ones, with each kind of positions.

    python benchmarks/longer_sentences.py DIR --runs RUNS [--only KIND ...] [--picture PNG]    # DIR holds Multi30k

Each kind is trained by `configs/multi30k_en_de_short.toml`: 1,200 steps on the 16,952 pairs whose sides have at most 12
words. Longer pairs are left out of the training whole, and no sentence is cut anywhere: the models have 128 positions,
and a translation may be 50 tokens longer than its source. RUNS keeps a run directory for each kind; what is complete
there is not trained again, and what was interrupted goes on.

The pairs of `val` and `test_2016_flickr` are grouped by the words of their longer side. Prints a JSON line for each
kind and file: loss (nats per token of the references) and cased sacreBLEU (greedy) of each group. Nothing is chosen by
them: the last weights are scored. The picture shows the loss on both files together.
"""

import json
import sys
from pathlib import Path

from scripts import ROOT, run_script

from transformer.commands.parser import Parser
from transformer.config.settings import POSITIONS, PRECISIONS
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

CONFIG = ROOT / "configs" / "multi30k_en_de_short.toml"
FILES = ("val", "test_2016_flickr")
GROUPS = {"up to 12": range(1, 13), "13 to 16": range(13, 17), "17 and more": range(17, 1000)}  # words
BINS = [range(low, low + 2) for low in range(7, 23, 2)] + [range(23, 1000)]  # of the picture
Scored = list[tuple[int, float, int]]  # words, log-probability, tokens of each pair


def read(data: Path, name: str) -> tuple[list[str], list[str], list[int]]:
    """Return the English and German sentences of a file, and the words of the longer one of each pair."""
    from transformer.data.examples import text_files

    sources, targets = (list(text_files.lines(data / f"{name}.{language}")) for language in ("en", "de"))
    words = [max(len(one.split()), len(other.split())) for one, other in zip(sources, targets, strict=True)]
    return sources, targets, words


def score(run: Path, data: Path, kind: str) -> Scored:
    """Print the JSON lines of a run, and return what is known of each pair."""
    from transformer.inference.translation_scores import TranslationScorer
    from transformer.inference.translator import Translator
    from transformer.metrics.text import bleu

    translator = Translator.load(run, "last", beam_size=1, cut="long")
    every: Scored = []
    for name in FILES:
        sources, targets, words = read(data, name)
        found = TranslationScorer(translator).score(sources, targets)
        hypotheses = [best[0].text for best in translator.translate(sources)]
        every += [(n, each.log_probability, each.tokens) for n, each in zip(words, found, strict=True)]
        row: dict[str, object] = {"positions": kind, "file": name}
        for group, lengths in GROUPS.items():
            some = [i for i, number in enumerate(words) if number in lengths]
            loss = -sum(found[i].log_probability for i in some) / sum(found[i].tokens for i in some)
            texts = ([hypotheses[i] for i in some], [targets[i] for i in some])
            written = sum(len(text.split()) for text in texts[0]) / sum(len(text.split()) for text in texts[1])
            row[group] = {
                "pairs": len(some),
                "loss": round(loss, 3),
                "bleu": round(bleu(*texts, "de").score, 2),
                "length": round(written, 3),  # words that are written for each of the references
            }
        print(json.dumps(row), flush=True)
    return every


def draw(found: dict[str, Scored], picture: str) -> None:
    """Draw the loss by length."""
    from transformer.plots.curves import curves

    lines = {}
    for kind, pairs in found.items():
        x, y = [], []
        for lengths in BINS:
            some = [pair for pair in pairs if pair[0] in lengths]
            x.append(sum(words for words, _, _ in some) / len(some))
            y.append(-sum(total for _, total, _ in some) / sum(tokens for *_, tokens in some))
        lines[kind] = (x, y)
    title = "Trained on captions of up to 12 words"
    curves(lines, "words of the longer side", "loss (nats per token)", path=picture, title=title)


def compare(data: Path, runs: Path, kinds: list[str], precision: str, picture: str | None) -> None:
    """Train what is missing, score, and draw."""
    flags = ("--config", CONFIG, "--data", data, "--seed", 1, "--precision", precision)
    runs.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        run_script("train.py", *flags, "--run", runs / kind, "--set", f"model.positions={kind}")
    import_tensorflow()
    found = {kind: score(runs / kind, data, kind) for kind in kinds}
    if picture:
        draw(found, picture)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="longer_sentences.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train, val and test_2016_flickr files")
    p.add_argument("--runs", required=True, metavar="RUNS", help="folder that keeps the run directories")
    p.add_argument("--only", nargs="+", choices=POSITIONS, metavar="KIND", help="these kinds: %(choices)s")
    p.add_argument("--precision", choices=PRECISIONS, default="bfloat16", help="of training (default: %(default)s)")
    p.add_argument("--picture", metavar="PNG", help="draw the loss by length")
    args = p.parse_args(argv)
    given = Path(args.data), Path(args.runs), args.only or list(POSITIONS), args.precision, args.picture
    return exit_code(lambda: compare(*given))


if __name__ == "__main__":
    sys.exit(main())
