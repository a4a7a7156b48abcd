r"""Train on a corpus of millions of pairs and watch time, memory and the data pipeline.

    python benchmarks/large_corpus.py DIR --work SCRATCH       # DIR holds Multi30k's train.* and val.*, .en and .de

Writes `--pairs` synthetic pairs, each two Multi30k pairs joined (5 million: 1.2 GB), and runs `train.py` on them three
times: from nothing; in another run directory with the same settings, which finds the tokenised shards; and with another
`max_tokens`, which has to make new ones. Prints a JSON line a run: seconds from the start to the vocabulary and from
the vocabulary to the first optimizer step, the most memory the process held (GiB resident), the share of the
training time that was spent waiting for data, and whether the shards were made.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.process import exit_code

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
CONFIG = """
preset = "tiny"
[model]
embeddings = "shared"
[task]
source_language = "en"
target_language = "de"
[data]
train = ["train.en", "train.de"]
valid = ["val.en", "val.de"]
batch_tokens = {batch_tokens}
max_tokens = {max_tokens}
cache = "{cache}"
[training]
max_steps = {steps}
log_every = 50
validate_every = {steps}
score_examples = 0
"""


def write_corpus(data: Path, folder: Path, pairs: int) -> None:
    """Write the synthetic training pairs and Multi30k's validation pairs."""
    folder.mkdir(parents=True, exist_ok=True)
    languages = ("en", "de")
    texts = [(data / f"train.{language}").read_text(encoding="utf-8").splitlines() for language in languages]
    real = list(zip(*texts, strict=True))
    short = sorted(real, key=lambda pair: len(pair[0]))[: len(real) // 4]
    chance = random.Random(0)
    files = [(folder / f"train.{language}").open("w", encoding="utf-8") for language in languages]
    for _ in range(pairs):
        for stream, first, second in zip(files, chance.choice(real), chance.choice(short), strict=True):
            stream.write(f"{first} {second}\n")
    for stream in files:
        stream.close()
    for language in languages:
        (folder / f"val.{language}").write_bytes((data / f"val.{language}").read_bytes())


def run(work: Path, name: str, template: str, **settings: object) -> dict[str, object]:
    """Train in a process of its own, by a config with these settings; returns what is to be reported."""
    config = work / f"{name}.toml"
    config.write_text(template.format(cache=work / "cache", **settings), encoding="utf-8")
    before = set((work / "cache").glob("*")) if (work / "cache").exists() else set()
    command = [sys.executable, TRAIN, "--config", config, "--data", work / "corpus", "--run", work / name]
    start, moments = time.monotonic(), {}
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    told = []
    for line in process.stderr:
        told.append(line.strip())
        if line.startswith("vocabulary of"):
            moments["vocabulary"] = time.monotonic() - start
        if line.startswith("step ") and "first_report" not in moments:
            moments["first_report"] = time.monotonic() - start
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise UserError(f"train.py failed: {told[-1] if told else 'without a word'}")
    records = [json.loads(line) for line in (work / name / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if record["event"] == "train"]
    first_step = moments["first_report"] - steps[0]["seconds"]  # the loop's clock starts with its first step
    made = len(set((work / "cache").glob("*")) - before)
    later = steps[1:]  # the first report holds the tracing of the graph
    return {
        "run": name,
        "seconds_to_vocabulary": round(moments["vocabulary"], 1),
        "seconds_from_vocabulary_to_training": round(first_step - moments["vocabulary"], 1),
        "gib_resident": round(usage.ru_maxrss / 2**20, 2),
        "waiting_for_data": round(sum(record["waiting_for_data"] for record in later) / len(later), 4),
        "tokens_per_second": round(sum(record["tokens_per_second"] for record in later) / len(later)),
        "shards_made": made,
    }


def measure(data: Path, work: Path, pairs: int, steps: int) -> None:
    """Print the JSON lines."""
    write_corpus(data, work / "corpus", pairs)
    size = sum(path.stat().st_size for path in (work / "corpus").glob("train.*"))
    print(json.dumps({"pairs": pairs, "corpus_gb": round(size / 1e9, 2), "steps": steps}), flush=True)
    settings = {"steps": steps, "batch_tokens": 2048, "max_tokens": 100}
    for name, changes in (("first", {}), ("again", {}), ("other_limit", {"max_tokens": 90})):
        print(json.dumps(run(work, name, CONFIG, **settings | changes)), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="large_corpus.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en, train.de, val.en and val.de")
    p.add_argument("--work", metavar="DIR", help="folder for corpus, shards and runs, 4 GB (default: a temporary one)")
    p.add_argument("--pairs", type=int, default=5_000_000, metavar="N", help="(default: %(default)s)")
    p.add_argument("--steps", type=int, default=400, metavar="N", help="steps of a run (default: %(default)s)")
    args = p.parse_args(argv)

    def job() -> None:
        with tempfile.TemporaryDirectory(dir=args.work) as scratch:
            measure(Path(args.data), Path(scratch), args.pairs, args.steps)

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
