r"""Train a Multi30k translator on its corpus and on what weaker translators make of it.

    python recipes/data_diversification.py DIR --runs RUNS [--seed N] [--direction en_de]

One translator learns the 29,000 pairs in both directions at once (bidirectional training, Ding et al. 2021); a
translator of each direction begins as it and goes on with its own (--teachers of each, of different seeds). Each
translates its own side of the pairs (data diversification, Nguyen et al. 2020); the student begins as the first
translator of its direction and learns from the pairs, from the English sentences with their translations, and from
the translations of the German sentences with these. Nothing but the corpus goes in, and the model is no larger.
--precision bfloat16 pays where the CPU or GPU has products of its own for it.

RUNS keeps everything; what is complete there is not made again, and an interrupted training goes on: the same command
may be stopped and given again, and with more --student-steps a student that is done goes on. Prints a JSON line with
the seconds of each part; nothing here looks at a test set.
"""

import hashlib
import json
import sys
import time
from argparse import Namespace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from multi30k import read_pairs
from scripts import ROOT, run_script

from transformer.commands.parser import Parser
from transformer.config.settings import PRECISIONS
from transformer.system.process import exit_code

DIRECTIONS = ("en_de", "de_en")
TEACHERS, SHARED_STEPS, TEACHER_STEPS, STUDENT_STEPS = 1, 5000, 5000, 9000
SEED_STEP = 1000  # between the seeds of the translators of one direction


def train(direction: str, data: Path, run: Path, steps: int, *flags: object) -> float:
    """Train, or go on, or find it done; returns the seconds of its training loop."""
    config = ROOT / "configs" / f"multi30k_{direction}.toml"
    limits = ("--max-steps", steps, "--max-minutes", 0)
    run_script("train.py", "--config", config, "--data", data, "--run", run, *limits, *flags)
    return json.loads((run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["seconds"]


def translate(run: Path, source: Path, output: Path) -> float:
    """Translate a file unless these weights did; returns the seconds that it took, kept beside the output."""
    kept = output.with_suffix(output.suffix + ".json")
    with (run / "best.safetensors").open("rb") as file:
        weights = hashlib.file_digest(file, "sha256").hexdigest()
    done = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if done.get("weights") != weights:
        start = time.perf_counter()
        run_script("translate.py", "--run", run, "--input", source, "--output", output)
        done = {"seconds": round(time.perf_counter() - start, 1), "weights": weights}
        kept.write_text(json.dumps(done) + "\n", encoding="utf-8")
    return done["seconds"]


def diversify(data: Path, folder: Path, teachers: list[dict[str, Path]]) -> float:
    """Write the corpus of the student, train and val, into a folder; returns the seconds of translating."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"en": [data / "train.en"], "de": [data / "train.de"]}
    seconds = 0.0
    for pair in teachers:
        for direction, run in pair.items():
            source, target = direction.split("_")
            translated = folder / f"{run.name}.{target}"
            seconds += translate(run, data / f"train.{source}", translated)
            parts[source].append(data / f"train.{source}")
            parts[target].append(translated)
    for language, files in parts.items():
        (folder / f"train.{language}").write_bytes(b"".join(part.read_bytes() for part in files))
        (folder / f"val.{language}").write_bytes((data / f"val.{language}").read_bytes())
    return seconds


def both_directions(data: Path, folder: Path) -> None:
    """Write into a folder, for train and val, each pair in either direction, one after the other.

    The files keep the names of the corpus: those of one language hold both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, pairs in read_pairs(data).items():
        for language, order in (("en", (0, 1)), ("de", (1, 0))):
            lines = (pair[side] + "\n" for pair in pairs for side in order)
            (folder / f"{name}.{language}").write_text("".join(lines), encoding="utf-8")


def student(data: Path, runs: Path, args: Namespace) -> None:
    """Make the student that the flags ask for, and whatever it needs."""
    teachers, seconds, precision = [], {}, ("--precision", args.precision)
    both = runs / "both"
    if args.shared_steps:
        both_directions(data, both)
    for seed in range(args.seed, args.seed + SEED_STEP * args.teachers, SEED_STEP):
        teachers.append({one: runs / f"teacher_{one}_{seed}" for one in DIRECTIONS})
        flags = ("--seed", seed, *precision)
        beginning = ()
        if args.shared_steps:
            shared = runs / f"shared_{seed}"
            seconds[shared.name] = train("en_de", both, shared, args.shared_steps, *flags)
            beginning = ("--init-from", shared)
        for one, run in teachers[-1].items():
            seconds[run.name] = train(one, data, run, args.teacher_steps, *flags, *beginning)
    folder = runs / f"diversified_{args.seed}"
    seconds["translations"] = diversify(data, folder, teachers)
    run = runs / f"{args.direction}_{args.seed}"
    flags = ("--init-from", teachers[0][args.direction], "--seed", args.seed, *precision)
    seconds["student"] = train(args.direction, folder, run, args.student_steps, *flags)
    minutes = round(sum(seconds.values()) / 60)
    print(json.dumps({"run": str(run), "seed": args.seed, "seconds": seconds, "minutes": minutes}))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="data_diversification.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en, train.de, val.en and val.de")
    p.add_argument("--runs", required=True, metavar="RUNS", help="folder that keeps run directories and translations")
    p.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help=f"of the student and its first teachers; the others' are {SEED_STEP} apart (default: %(default)s)",
    )
    p.add_argument("--direction", choices=DIRECTIONS, default="en_de", help="of the student (default: %(default)s)")
    p.add_argument(
        "--teachers", type=int, default=TEACHERS, metavar="N", help="of each direction (default: %(default)s)"
    )
    p.add_argument(
        "--shared-steps",
        type=int,
        default=SHARED_STEPS,
        metavar="N",
        help="of the translator of both directions that teachers begin as; 0: they begin anew (default: %(default)s)",
    )
    for name, steps in (("teacher", TEACHER_STEPS), ("student", STUDENT_STEPS)):
        length = f"--{name}-steps"
        p.add_argument(length, type=int, default=steps, metavar="N", help="its length (default: %(default)s)")
    p.add_argument("--precision", choices=PRECISIONS, default="float32", help="of training (default: %(default)s)")
    args = p.parse_args(argv)
    for name in ("teachers", "teacher_steps", "student_steps"):
        if getattr(args, name) < 1:
            p.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(args, name)}")
    if args.shared_steps < 0:
        p.error(f"--shared-steps must be at least 0, got {args.shared_steps}")
    return exit_code(lambda: student(Path(args.data), Path(args.runs), args))


if __name__ == "__main__":
    sys.exit(main())
