r"""Measure how the cost of a training step grows with the model's width, the sentence length and the batch.

    python benchmarks/cost_growth.py [--rounds N]

The model of `training_speed.py` (4 + 4 layers, 8 heads, 8,000 words untied, dropout and label smoothing 0.1, Adam;
float32) is trained on random sentences without padding. Each row is a process of its own and changes one thing:
d_model (dff is four times as much) and length at 4,096 target tokens a batch, or the number of sentences at length 32.
Prints a JSON line a row: target tokens per second (median of the rounds), GiB resident at most, and the exponents to
which time per token and memory grow from the row before; then, for each thing that was changed, those over all rows.
"""

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

TOKENS, WIDTH, LENGTH = 4096, 128, 32
SWEEPS = {  # what changes: its values
    "d_model": (128, 256, 512),
    "length": (16, 32, 64, 128, 256, 512),
    "sentences": (4, 16, 64, 256),
}


def measure(d_model: int, length: int, sentences: int, rounds: int) -> None:
    """Print the seconds of a step and the resident memory of this process."""
    import_tensorflow()
    import numpy as np
    import tensorflow as tf

    from transformer.config.run import Config
    from transformer.data.tokenizers.vocabularies import TokenizerPair
    from transformer.models.transformer import Transformer
    from transformer.tasks.translation import Translation
    from transformer.training.cluster import open_strategy
    from transformer.training.optimizer import build_optimizer
    from transformer.training.steps import Steps

    strategy = open_strategy("single")
    config = Config().override({"training": {"schedule": "inverse_sqrt", "label_smoothing": 0.1}})
    model = Transformer(4, d_model, 8, 4 * d_model, 8000, 8000, length + 1, length + 1, rate=0.1)
    model.build()
    task = Translation(config, TokenizerPair(*[SimpleNamespace(kind="ids", vocabulary_size=8000)] * 2), {})
    steps = Steps(task, model, build_optimizer(config, model.trainable_variables), config.training, strategy)
    generator = np.random.default_rng(0)
    batch = {name: tf.constant(generator.integers(4, 8000, (sentences, length)), tf.int32) for name in task.features}
    seconds = []
    for _ in range(2 + rounds):
        start = time.perf_counter()
        steps.train([batch])
        seconds.append(time.perf_counter() - start)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": statistics.median(seconds[2:]), "gib_resident": round(memory, 2)}))


def row(changed: str, value: int, rounds: int) -> dict[str, float]:
    """Measure in a process of its own."""
    sizes = {"d_model": WIDTH, "length": LENGTH, "sentences": 0} | {changed: value}
    sizes["sentences"] = sizes["sentences"] or TOKENS // sizes["length"]
    command = [sys.executable, __file__, "--one", *map(str, sizes.values()), "--rounds", str(rounds)]
    process = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if process.returncode:
        raise UserError(f"{sizes} failed: {(process.stderr.strip().splitlines() or ['without a word'])[-1]}")
    found = json.loads(process.stdout)
    tokens = sizes["length"] * sizes["sentences"]
    return {**sizes, "target_tokens_per_s": round(tokens / found["seconds"]), "gib_resident": found["gib_resident"]}


def exponents(changed: str, first: dict[str, float], last: dict[str, float]) -> dict[str, float]:
    """Return the exponents to which time per token and memory grow between two rows."""
    ratio = math.log(last[changed] / first[changed])
    time_ratio = math.log(first["target_tokens_per_s"] / last["target_tokens_per_s"])
    memory_ratio = math.log(last["gib_resident"] / first["gib_resident"])
    return {"time_exponent": round(time_ratio / ratio, 2), "memory_exponent": round(memory_ratio / ratio, 2)}


def sweep(rounds: int) -> None:
    """Print the JSON lines."""
    for changed, values in SWEEPS.items():
        rows = []
        for value in values:
            rows.append(row(changed, value, rounds))
            grown = exponents(changed, rows[-2], rows[-1]) if len(rows) > 1 else {}
            print(json.dumps({"changed": changed, **rows[-1], **grown}), flush=True)
        print(json.dumps({"changed": changed, "over_all": exponents(changed, rows[0], rows[-1])}), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="cost_growth.py", description=__doc__.splitlines()[0])
    p.add_argument("--rounds", type=int, default=10, metavar="N", help="steps that are timed (default: %(default)s)")
    p.add_argument("--one", nargs=3, type=int, metavar="N", help="measure one d_model, length and number of sentences")
    args = p.parse_args(argv)
    return exit_code(lambda: measure(*args.one, args.rounds) if args.one else sweep(args.rounds))


if __name__ == "__main__":
    sys.exit(main())
