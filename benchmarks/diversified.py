r"""Train a Multi30k translator on its corpus and on what two weaker translators make of it.

    python benchmarks/diversified.py DIR --runs RUNS [--seed N] [--direction en_de]

Data diversification (Nguyen et al. 2020): a translator of each direction is trained on the 29,000 pairs, and translates
its own side of them; the student begins as the translator of its direction and learns from the pairs, from the English
sentences with their translations, and from the translations of the German sentences with these. Nothing but the corpus
goes in, and the model is no larger. Training in bfloat16 pays where the CPU or GPU has products of its own for it.

RUNS keeps everything; what is complete there is not made again, and an interrupted training goes on: the same command
may be stopped and given again, and with more --student-steps a student that is done goes on. Prints a JSON line with
the seconds of each part; nothing here looks at a test set.
"""

import json
import sys
import time
from pathlib import Path

from scripts import ROOT, run_script

from transformer.command_line import Parser, exit_code
from transformer.config import PRECISIONS

DIRECTIONS = ("en_de", "de_en")
TEACHER_STEPS = STUDENT_STEPS = 12000


def train(direction: str, data: Path, run: Path, steps: int, *flags: object) -> float:
    """Train, or go on, or find it done; returns the seconds of its training loop."""
    config = ROOT / "configs" / f"multi30k_{direction}.toml"
    limits = ("--max-steps", steps, "--max-minutes", 0)
    run_script("train.py", "--config", config, "--data", data, "--run", run, *limits, *flags)
    return json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["seconds"]


def translate(run: Path, source: Path, output: Path) -> float:
    """Translate a file unless that was done; returns the seconds that it took, kept beside the output."""
    kept = output.with_suffix(output.suffix + ".seconds")
    if not kept.exists():
        start = time.perf_counter()
        run_script("translate.py", "--run", run, "--input", source, "--output", output)
        kept.write_text(f"{time.perf_counter() - start:.1f}\n", encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def diversify(data: Path, folder: Path, teachers: dict[str, Path]) -> float:
    """Write the corpus of the student, train and val, into a folder; returns the seconds of translating."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = translate(teachers["en_de"], data / "train.en", folder / "translated.de")
    seconds += translate(teachers["de_en"], data / "train.de", folder / "translated.en")
    for language, thirds in (
        ("en", (data / "train.en", data / "train.en", folder / "translated.en")),
        ("de", (data / "train.de", folder / "translated.de", data / "train.de")),
    ):
        (folder / f"train.{language}").write_bytes(b"".join(part.read_bytes() for part in thirds))
        (folder / f"val.{language}").write_bytes((data / f"val.{language}").read_bytes())
    return seconds


def student(data: Path, runs: Path, direction: str, steps: int, seed: int, precision: str) -> None:
    """Make the student of a direction, and whatever it needs."""
    flags = ("--seed", seed, "--precision", precision)
    teachers = {one: runs / f"teacher_{one}_{seed}" for one in DIRECTIONS}
    seconds = {f"teacher_{one}": train(one, data, run, TEACHER_STEPS, *flags) for one, run in teachers.items()}
    folder = runs / f"diversified_{seed}"
    seconds["translations"] = diversify(data, folder, teachers)
    run = runs / f"{direction}_{seed}"
    start = ("--init-from", teachers[direction])
    seconds["student"] = train(direction, folder, run, steps, *start, *flags)
    print(json.dumps({"run": str(run), "seed": seed, "seconds": seconds, "minutes": round(sum(seconds.values()) / 60)}))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="diversified.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en, train.de, val.en and val.de")
    p.add_argument("--runs", required=True, metavar="RUNS", help="folder that keeps run directories and translations")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of teachers and student (default: %(default)s)")
    p.add_argument("--direction", choices=DIRECTIONS, default="en_de", help="of the student (default: %(default)s)")
    p.add_argument(
        "--student-steps", type=int, default=STUDENT_STEPS, metavar="N", help="its length (default: %(default)s)"
    )
    p.add_argument("--precision", choices=PRECISIONS, default="bfloat16", help="of training (default: %(default)s)")
    args = p.parse_args(argv)
    if args.student_steps < 1:
        p.error(f"--student-steps must be at least 1, got {args.student_steps}")
    given = Path(args.data), Path(args.runs), args.direction, args.student_steps, args.seed, args.precision
    return exit_code(lambda: student(*given))


if __name__ == "__main__":
    sys.exit(main())
