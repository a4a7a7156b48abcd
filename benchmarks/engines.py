r"""Compare the two engines of a run as whole processes: seconds, memory and lines.

    python benchmarks/engines.py RUN --input DIR/test_2016_flickr.en [--sentence TEXT] [--rounds N]

Prints JSON lines. `sentence`: translate.py with one sentence, by both engines in turn: median seconds, the resident
memory at its peak in MiB, and how often faster CTranslate2 is (median of the rounds' ratios). `file`: the same with all
lines of the input, beam 5. `lines`: how many are equal, and of the others how many are near ties (two translations
whose scores differ by less than 0.001 may change places). Both translate with the search settings given here, whatever
the run has; the converted model is made beforehand.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts import ROOT

from transformer.commands.parser import Parser
from transformer.config.settings import CTRANSLATE2, TENSORFLOW
from transformer.system.errors import UserError
from transformer.system.process import exit_code

NEAR_TIE = 1e-3  # nats of a score
SEARCH = ("--finished", "leave", "--penalty", "length", "--length-penalty", "1")


def measured(*words: object) -> tuple[float, float]:
    """Return the seconds of translate.py with arguments, and the MiB that it held at most."""
    command = [sys.executable, str(ROOT / "translate.py"), *map(str, words), *SEARCH]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"translate.py failed: {' '.join(command)}")
    return time.monotonic() - start, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def rows(part: str, words: list[object], rounds: int) -> None:
    """Print the line of each engine; they take turns."""
    found: dict[str, list[tuple[float, float]]] = {CTRANSLATE2: [], TENSORFLOW: []}
    for _ in range(rounds):
        for engine, results in found.items():
            results.append(measured(*words, "--engine", engine))
    ratios = [slow / fast for (fast, _), (slow, _) in zip(*found.values(), strict=True)]
    for engine, results in found.items():
        line = {
            "part": part,
            "engine": engine,
            "seconds": round(statistics.median(seconds for seconds, _ in results), 3),
            "memory_mib": round(statistics.median(memory for _, memory in results)),
            "rounds": rounds,
        }
        if engine == CTRANSLATE2:
            line["times_faster"] = round(statistics.median(ratios), 2)
        print(json.dumps(line), flush=True)


def compare(run: str, path: str, folder: Path) -> None:
    """Print how many lines are equal."""
    best = []
    for engine in (CTRANSLATE2, TENSORFLOW):
        out = folder / engine
        measured("--run", run, "--engine", engine, "--input", path, "--output", out, "--json", "--beam-size", 5)
        best.append([json.loads(line)["hypotheses"][0] for line in out.read_text(encoding="utf-8").splitlines()])
    unlike = [(one, other) for one, other in zip(*best, strict=True) if one["text"] != other["text"]]
    line = {
        "part": "lines",
        "lines": len(best[0]),
        "equal": round(1 - len(unlike) / len(best[0]), 4),
        "near_ties": sum(abs(one["score"] - other["score"]) < NEAR_TIE for one, other in unlike),
    }
    print(json.dumps(line), flush=True)


def measure(args: argparse.Namespace) -> None:
    """Print the lines."""
    measured("--run", args.run, "--engine", CTRANSLATE2, args.sentence)  # converts the model
    rows("sentence", ["--run", args.run, args.sentence], args.rounds)
    if args.input:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "out")
            rows("file", ["--run", args.run, "--beam-size", 5, "--input", args.input, "--output", out], args.rounds)
            compare(args.run, args.input, Path(folder))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="engines.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN")
    p.add_argument("--input", metavar="F", help="text file, one sentence a line")
    p.add_argument(
        "--sentence", default="Onde fica a esta\u00e7\u00e3o?", metavar="TEXT", help="(default: %(default)s)"
    )
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    args = p.parse_args(argv)
    if args.rounds < 1:
        p.error(f"--rounds must be at least 1, got {args.rounds}")
    return exit_code(lambda: measure(args))


if __name__ == "__main__":
    sys.exit(main())
