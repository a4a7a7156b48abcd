r"""Measure a translator's warnings that it is unsure, as a detector of wrong translations.

    python benchmarks/unsure.py runs/phrasebook_pt_to_en --picture docs/unsure.png

Three kinds of sentences, none of which decided anything about the warnings: those that a tourist may type
(`data/tourist_sentences.tsv`, whose translations a reader judged), the phrasebook's held-out everyday sentences (right
is what has the chrF that calibration asks for), and those distorted, which cannot be translated.

Prints one JSON line: of each kind, how many translations are right and wrong, the shares that are warned of, and the
precision of the warnings. A tourist's sentence that is translated otherwise than when it was judged is left out and
counted; judge it and write translation and verdict (1: the meaning is kept) into the file.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

JUDGED = Path(__file__).parent / "data" / "tourist_sentences.tsv"
SEED = 2  # of distortions; calibration takes others
MARK = ", "  # between sentences and how they were judged


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="unsure.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN", help="a run that learned from phrasebook/pt_to_en")
    p.add_argument("--most", type=int, metavar="N", help="everyday sentences (default: all)")
    p.add_argument("--picture", metavar="PNG", help="draw precision against recall")
    p.add_argument("--rejudge", metavar="F", help="write the tourist's sentences with translations that are new here")
    args = p.parse_args(argv)
    return exit_code(lambda: measure(args))


def measure(args: Namespace) -> None:
    """Translate, measure, print the line and draw."""
    import_tensorflow()
    import numpy as np

    from transformer.data.distortions import distorted
    from transformer.data.phrasebook import generate
    from transformer.inference.translator import Translator
    from transformer.metrics.calibration import detection, detections
    from transformer.metrics.text import sentence_chrf
    from transformer.tasks.translation_confidence import RIGHT

    translator = Translator.load(args.run)
    stored = translator.confidence
    if stored is None:
        raise UserError(f"{args.run} does not say when it is unsure; train it with this version")
    names, *rows = (line.split("\t") for line in JUDGED.read_text(encoding="utf-8").splitlines())
    everyday = [(sentence.pt, sentence.en) for sentence in generate("everyday")][: args.most]
    strange = distorted(everyday, sorted(stored.source_words), SEED)
    asked = [*(row[1] for row in rows), *(source for source, _ in everyday), *strange]
    found = [best[0] for best in translator.translate(asked)]
    typed, usual, odd = found[: len(rows)], found[len(rows) :][: len(everyday)], found[len(rows) + len(everyday) :]
    same = [place for place, (row, one) in enumerate(zip(rows, typed, strict=True)) if row[3] == one.text]
    if args.rejudge:
        kept = [row if row[3] == one.text else [*row[:3], one.text, "?"] for row, one in zip(rows, typed, strict=True)]
        lines = ("\t".join(row) + "\n" for row in (names, *kept))
        Path(args.rejudge).write_text("".join(lines), encoding="utf-8")
    scores = sentence_chrf([one.text for one in usual], [target for _, target in everyday])
    kinds = {
        "tourist's sentences, judged by a reader": ([typed[i] for i in same], [rows[i][4] == "1" for i in same]),
        "everyday sentences, right by chrF": (usual, [score >= RIGHT for score in scores]),
    }
    report: dict[str, object] = {
        "run": args.run,
        "threshold": stored.threshold,
        "judged_otherwise": len(rows) - len(same),
    }
    lines = {}
    for name, (translations, verdicts) in kinds.items():
        right = np.array(verdicts, bool)
        confidence = np.array([one.confidence for one in translations])
        chosen = detection(confidence, right, stored.threshold)
        report[name] = {"right": int(right.sum()), "wrong": int((~right).sum()), **_rounded(chosen)}
        lines[name] = _points(detections(confidence, right))
        lines[f"the threshold, {name.partition(MARK)[0]}"] = ([chosen.wrong_warned], [chosen.precision])
    logs = np.array([one.log_probability / max(1, len(one.token_log_probabilities)) for one in usual])
    lines["everyday sentences, log-probability alone"] = _points(detections(logs, right))
    report["distorted sentences"] = {
        "wrong": len(odd),
        "wrong_warned": round(float(np.mean([o.unsure for o in odd])), 3),
    }
    print(json.dumps(report))
    if args.picture:
        from transformer.plots.curves import curves

        xlabel, ylabel = "recall (share of the wrong translations)", "precision (share of the warnings)"
        curves(lines, xlabel, ylabel, path=args.picture, title="Warnings that the model is unsure")


def _points(found: list) -> tuple[list[float], list[float]]:
    """Return recall and precision of detections that warn at all."""
    warning = [each for each in found if each.wrong_warned]
    return [each.wrong_warned for each in warning], [each.precision for each in warning]


def _rounded(found: object) -> dict[str, float]:
    return {name: round(getattr(found, name), 3) for name in ("wrong_warned", "right_warned", "precision")}


if __name__ == "__main__":
    sys.exit(main())
