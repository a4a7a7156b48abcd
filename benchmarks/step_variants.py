r"""Try what might make a training step faster on this machine: precision, XLA, how the cores are shared.

    python benchmarks/step_variants.py DIR             # DIR holds Multi30k's train.en and train.de

One batch of 64 sentences of middle length is trained on again and again with the model of `training_speed.py`. Each
variant is a process of its own; the variants take turns. Prints a JSON line a variant: milliseconds of a step (median
of all rounds) and the seconds that the first step took, compilation included. `xla` compiles the whole step with
`jit_compile=True`, with all logits at once, since XLA knows no boolean masks; `all_logits` is the same without XLA.
`float16` is for GPUs and not tried unless asked for: a CPU takes a minute a step.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training_speed import write_batches
from training_systems import DROPOUT, HEADS, INNER, LAYERS, POSITIONS, RATE, SMOOTHING, VOCABULARY, WIDTH

from transformer.command_line import Parser, exit_code, import_tensorflow
from transformer.config import PAD_ID, UserError

VARIANTS = ("float32", "one_stream", "bfloat16", "all_logits", "xla", "float16")
STEPS = 20  # of a round


def all_logits_step(model, optimizer, xla):
    """Return a step that holds all logits, compiled by XLA or not."""
    import tensorflow as tf

    from transformer.training.losses import token_losses

    @tf.function(jit_compile=xla)
    def step(source_ids, target_in, target_out):
        with tf.GradientTape() as tape:
            losses = token_losses(target_out, model((source_ids, target_in), training=True), SMOOTHING)
            real = tf.cast(target_out != PAD_ID, tf.float32)
            loss = tf.reduce_sum(losses * real) / tf.reduce_sum(real)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], model.trainable_variables)
        return loss

    return lambda batch: float(step(*batch))


def be(variant: str, path: str) -> None:
    """Be one variant: a round for each line on standard input."""
    import_tensorflow()
    import keras
    import numpy as np
    import tensorflow as tf

    from transformer.config import Config
    from transformer.models.translation import Transformer
    from transformer.training.cluster import open_strategy
    from transformer.training.optimizer import build_optimizer
    from transformer.training.steps import Steps

    plain = variant in ("one_stream", "all_logits", "xla")  # TensorFlow's own division of the cores
    strategy = tf.distribute.get_strategy() if plain else open_strategy("single")
    precision = variant if variant in ("bfloat16", "float16") else "float32"
    config = Config().override(
        {
            "training": {
                "schedule": "inverse_sqrt",
                "peak_learning_rate": RATE,
                "label_smoothing": SMOOTHING,
                "precision": precision,
            }
        }
    )
    policy = keras.DTypePolicy(precision if precision == "float32" else f"mixed_{precision}")
    sizes = (LAYERS, WIDTH, HEADS, INNER, VOCABULARY, VOCABULARY, POSITIONS, POSITIONS)
    model = Transformer(*sizes, rate=DROPOUT, dtype=policy)
    model.build()
    arrays = np.load(path)
    batch = tuple(tf.constant(arrays[f"{part}{len(arrays.files) // 6}"]) for part in "abc")
    if variant in ("all_logits", "xla"):
        optimizer = keras.optimizers.Adam(RATE, beta_2=0.98, epsilon=1e-9)
        optimizer.build(model.trainable_variables)
        step = all_logits_step(model, optimizer, variant == "xla")
    else:
        steps = Steps(model, build_optimizer(config, model.trainable_variables), config, strategy)
        steps.streams = 1 if variant == "one_stream" else steps.streams

        def step(batch):
            steps.train([batch])

    start = time.perf_counter()
    step(batch)
    print(f"ready {time.perf_counter() - start}", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            step(batch)
        print((time.perf_counter() - start) / STEPS, flush=True)


def compare(folder: Path, variants: list[str], rounds: int) -> None:
    """Print the JSON lines."""
    import_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        path = str(Path(scratch) / "batches.npz")
        write_batches(folder, path)
        processes, first, seconds = {}, {}, {variant: [] for variant in variants}
        for variant in variants:
            processes[variant] = subprocess.Popen(
                [sys.executable, __file__, path, "--be", variant],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )
            answer = processes[variant].stdout.readline().split()
            if not answer:
                raise UserError(f"{variant} failed; see: python {__file__} {path} --be {variant}")
            first[variant] = float(answer[1])
        for _ in range(rounds):
            for variant, process in processes.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                seconds[variant].append(float(process.stdout.readline()))
        for variant in variants:
            milliseconds = round(1e3 * statistics.median(seconds[variant]), 1)
            print(json.dumps({"variant": variant, "step_ms": milliseconds, "first_step_s": round(first[variant], 1)}))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="step_variants.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en and train.de")
    p.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:-1], metavar="NAME", help="of: %(choices)s"
    )
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    p.add_argument("--be", choices=VARIANTS, help="be one variant; DIR is then the file of batches")
    args = p.parse_args(argv)
    if args.be:
        return exit_code(lambda: be(args.be, args.data))
    return exit_code(lambda: compare(Path(args.data), list(args.variants), args.rounds))


if __name__ == "__main__":
    sys.exit(main())
