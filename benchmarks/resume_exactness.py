r"""Kill a training run again and again and compare it with one that was left alone.

    python benchmarks/resume_exactness.py --kills 20

Trains a small model with dropout, averaged weights, BLEU and early stopping on 2,000 pairs of the phrasebook:
once undisturbed, once killed with SIGKILL after a random time (seeded), started again with the same command, and so on;
and again, where that run ends before all the kills are spent. Prints one JSON line: the kills, the steps at which runs
went on, and whether weights, optimizer state, position and metrics (time fields apart) are the same to the last bit in
every run. Exit code 1 where they are not.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.config.run import Config
from transformer.system.errors import UserError
from transformer.system.process import exit_code

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "task": {"source_language": "pt", "target_language": "en"},
    "model": {"num_layers": 1, "d_model": 32, "num_heads": 4, "dff": 64, "embeddings": "shared"},
    "text": {"vocabulary_size": 600},
    "data": {"max_tokens": 48, "batch_tokens": 512, "length_step": 4, "shuffle_buffer": 500},
    "training": {
        "schedule": "cosine",
        "peak_learning_rate": 0.005,
        "warmup_steps": 20,
        "averaging": 0.9,
        "log_every": 7,
        "validate_every": 25,
        "score_examples": 20,
        "save_every": 10,
        "patience": 50,
        "average_checkpoints": 2,
    },
}
TIME_FIELDS = ("seconds", "tokens_per_second", "waiting_for_data")
# Runs the training; where a third argument is given, the process is killed so many seconds after its first step.
PROCESS = """
import os, signal, sys, threading
from transformer.config.run import Config
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow
import_tensorflow()
from transformer.training.steps import Steps
from transformer.training.trainer import train
if len(sys.argv) > 3:
    killer = threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), signal.SIGKILL))
    train_step = Steps.train
    def first_step(self, batches):
        Steps.train = train_step
        result = train_step(self, batches)
        killer.daemon = True
        killer.start()
        return result
    Steps.train = first_step
config = Config.from_json(open(sys.argv[1], encoding="utf-8").read())
sys.exit(exit_code(lambda: train(config, sys.argv[2])))
"""


def write_corpus(folder: Path) -> dict[str, list[str]]:
    """Write training and validation files; returns their settings in [data]."""
    from transformer.data import phrasebook

    data: dict[str, list[str]] = {"train": [], "valid": []}
    for name, split, count in (("train", "train", 2000), ("valid", "validation", 100)):
        sentences = phrasebook.generate(split)[:count]
        for language in ("pt", "en"):
            path = folder / f"{name}.{language}"
            path.write_text("".join(getattr(s, language) + "\n" for s in sentences), encoding="utf-8")
            data[name].append(str(path))
    return data


def start(config: Path, run: Path, seconds: float | None = None) -> tuple[int, str]:
    """Train in a process of its own; returns its exit code and what it told."""
    command = [sys.executable, "-c", PROCESS, str(config), str(run)]
    command += [] if seconds is None else [str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


def state(run: Path) -> dict[str, object]:
    """Return what two equal runs have in common to the last bit."""
    from safetensors import safe_open

    found: dict[str, object] = {}
    for path in sorted([*run.glob("*.safetensors"), *run.glob("kept/*")]):
        with safe_open(str(path), framework="numpy") as file:
            metadata = json.loads(file.metadata()["saved"])["metadata"]
            arrays = {name: file.get_tensor(name).tobytes() for name in file.keys()}
        found[str(path.relative_to(run))] = ({k: v for k, v in metadata.items() if k not in TIME_FIELDS}, arrays)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found["metrics"] = [{k: v for k, v in line.items() if k not in TIME_FIELDS} for line in lines]
    return found


def compare(kills: int, max_steps: int, seed: int, folder: Path) -> dict[str, object]:
    """Train the two runs and compare them."""
    data = {**write_corpus(folder), "cache": str(folder / "cache")}
    config = Config().override(SIZES).override({"data": data, "training": {"max_steps": max_steps}})
    (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
    code, told = start(folder / "config.json", folder / "alone")
    if code:
        raise UserError(f"the undisturbed run failed: {told.strip().splitlines()[-1]}")
    alone = state(folder / "alone")
    whole = json.loads((folder / "alone" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["seconds"]
    chance, went_on, killed, runs, different = random.Random(seed), [], 0, 0, set()
    while killed < kills:
        runs += 1
        run = folder / f"killed{runs}"
        while True:
            # Anywhere in an undisturbed run: while it trains, validates, translates and saves.
            seconds = chance.uniform(0.0, whole) if killed < kills else None
            code, told = start(folder / "config.json", run, seconds)
            went_on += [int(line.split()[-1]) for line in told.splitlines() if line.startswith("continuing at step")]
            if code == 0:
                break
            if code != -9:
                raise UserError(f"a run failed instead of being killed: {told.strip().splitlines()[-1]}")
            killed += 1
        other = state(run)
        different |= {
            f"{run.name}/{name}" for name in alone.keys() | other.keys() if alone.get(name) != other.get(name)
        }
    return {
        "kills": killed,
        "runs": runs,
        "steps": max_steps,
        "seed": seed,
        "went_on_at": went_on,
        "identical": not different,
        "different": sorted(different),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="resume_exactness.py", description=__doc__.splitlines()[0])
    p.add_argument("--kills", type=int, default=20, metavar="N", help="(default: %(default)s)")
    p.add_argument("--max-steps", type=int, default=400, metavar="N", help="(default: %(default)s)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the random moments (default: %(default)s)")
    args = p.parse_args(argv)

    def job() -> None:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(args.kills, args.max_steps, args.seed, Path(folder))
        print(json.dumps(result))
        if not result["identical"]:
            raise UserError(f"not the same after {result['kills']} kills: {', '.join(result['different'])}")

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
