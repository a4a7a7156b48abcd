r"""Change one part of the recipe at a time, as in Table 3 of Vaswani et al. 2017, and compare on validation pairs.

    python benchmarks/ablations.py DIR --runs RUNS [--only NAME ...]      # DIR holds Multi30k's train and val files

Every variant is trained from English to German for 5,000 steps (16 minutes on two cores at 0.19 s a step) with two
seeds; the same seed of two variants sees the same batches wherever their vocabularies are the same. RUNS keeps a run
directory and a config for each; what is complete there is not trained again, and what was interrupted goes on. Prints a
JSON line a variant: greedy cased sacreBLEU and perplexity per token on `val` (best weights) for each seed, and the mean
difference of BLEU to the base of the same seed. Nothing here looks at a test set.
"""

import json
import math
import sys
from pathlib import Path

from scripts import run_script

from transformer.commands.parser import Parser
from transformer.config.settings import PRECISIONS
from transformer.system.process import exit_code

SEEDS = (1, 2)
BASE = {
    "model": {"embeddings": "shared", "dropout_rate": 0.2},
    "text": {"vocabulary_size": 5000},
    "task": {"source_language": "en", "target_language": "de"},
    "data": {
        "train": ["train.en", "train.de"],
        "valid": ["val.en", "val.de"],
        "length_step": 2,
        "batch_tokens": 2048,
    },
    "training": {
        "schedule": "cosine",
        "peak_learning_rate": 0.002,
        "warmup_steps": 600,
        "max_steps": 5000,
        "averaging": 0.998,
        "label_smoothing": 0.1,
        "validate_every": 1250,
        "score_examples": 1014,
    },
}
VARIANTS: dict[str, dict[str, dict[str, object]]] = {  # what each changes
    "base": {},
    "no_dropout": {"model": {"dropout_rate": 0.0}},
    "no_label_smoothing": {"training": {"label_smoothing": 0.0}},
    "one_head": {"model": {"num_heads": 1}},
    "no_averaging": {"training": {"averaging": 0.0}},
    "separate_embeddings": {"model": {"embeddings": "separate"}},
    "vocabulary_2000": {"text": {"vocabulary_size": 2000}},
    "vocabulary_10000": {"text": {"vocabulary_size": 10000}},
}


def toml(variant: str) -> str:
    """Return the config of a variant."""
    lines = ['preset = "tiny"']
    for section, values in BASE.items():
        lines.append(f"[{section}]")
        lines += [f"{k} = {json.dumps(v)}" for k, v in {**values, **VARIANTS[variant].get(section, {})}.items()]
    return "\n".join(lines) + "\n"


def run(data: Path, runs: Path, variant: str, seed: int, precision: str) -> tuple[float, float]:
    """Train, or go on, or find it done; returns BLEU and perplexity of the best weights."""
    config, folder = runs / f"{variant}.toml", runs / f"{variant}_{seed}"
    config.write_text(toml(variant), encoding="utf-8")
    flags = ("--seed", seed, "--precision", precision)
    run_script("train.py", "--config", config, "--data", data, "--run", folder, *flags)
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    scores = [record for record in map(json.loads, lines) if record["event"] == "validation"]
    best = next(record for record in scores if record["step"] == scores[-1]["best_step"])
    return best["bleu"], math.exp(best["loss"])


def compare(data: Path, runs: Path, variants: list[str], precision: str) -> None:
    """Print the JSON lines."""
    runs.mkdir(parents=True, exist_ok=True)
    found = {}
    for variant in dict.fromkeys(["base", *variants]):
        found[variant] = [run(data, runs, variant, seed, precision) for seed in SEEDS]
        differences = [ours[0] - base[0] for ours, base in zip(found[variant], found["base"], strict=True)]
        row = {
            "variant": variant,
            "changed": VARIANTS[variant],
            "bleu": [round(bleu, 2) for bleu, _ in found[variant]],
            "perplexity": [round(perplexity, 3) for _, perplexity in found[variant]],
            "difference": round(sum(differences) / len(differences), 2),
        }
        print(json.dumps(row), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="ablations.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en, train.de, val.en and val.de")
    p.add_argument("--runs", required=True, metavar="RUNS", help="folder that keeps the run directories")
    p.add_argument("--only", nargs="+", choices=VARIANTS, metavar="NAME", help="these and the base: %(choices)s")
    p.add_argument("--precision", choices=PRECISIONS, default="bfloat16", help="of training (default: %(default)s)")
    args = p.parse_args(argv)
    given = Path(args.data), Path(args.runs), args.only or list(VARIANTS), args.precision
    return exit_code(lambda: compare(*given))


if __name__ == "__main__":
    sys.exit(main())
