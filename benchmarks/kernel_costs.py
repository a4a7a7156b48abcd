r"""Measure what each fast kernel of `layers/fused.py` is worth: switch each off in turn.

    python benchmarks/kernel_costs.py
    python benchmarks/kernel_costs.py --work decode --length 32

One model (4 + 4 layers, d_model 128, 8 heads, dff 512, 8,000 words untied, float32) trains on random batches of 64
sentences, or decodes them greedily, on one thread. Without a kernel, Keras' own layer or `tf.matmul` takes its place.
All variants live in one process and take turns, one step each a round. Prints a JSON line a variant: median seconds of
the process's CPU time and on the clock, and the ratio of both to the step with all kernels (median of the rounds'
ratios). A kernel stays in the package while it is worth more than 2 % of a step on some machine.
"""

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

from transformer.commands.parser import Parser
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, POSITIONS, SENTENCES = 4, 128, 8, 512, 8000, 256, 64
VARIANTS = ("all", "Dropout", "LayerNormalization", "matmul")


@contextlib.contextmanager
def without(kernel: str) -> Iterator[None]:
    """Have graphs made without a kernel, by its name in `layers/fused.py`."""
    import keras
    import tensorflow as tf

    from transformer.layers import attention, fused

    if kernel == "all":
        yield
    elif kernel == "matmul":
        with mock.patch.object(
            attention, "matmul", lambda x, y, transpose_b=False, training=None: tf.matmul(x, y, transpose_b=transpose_b)
        ):
            yield
    else:
        with mock.patch.object(getattr(fused, kernel), "call", getattr(keras.layers, kernel).call):
            yield


def training_step(length: int) -> Callable[[], object]:
    """Return a step of training on sentences of so many tokens."""
    import keras
    import tensorflow as tf

    from transformer.losses.linear_cross_entropy import linear_cross_entropy
    from transformer.models.transformer import Transformer

    model = Transformer(LAYERS, WIDTH, HEADS, INNER, VOCABULARY, VOCABULARY, POSITIONS, POSITIONS, rate=0.1)
    model.build()
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    ids = tf.random.stateless_uniform((3, SENTENCES, length), (1, 2), 4, VOCABULARY, tf.int32)
    any_ids = tf.TensorSpec((None, None), tf.int32)

    @tf.function(autograph=False, input_signature=[any_ids] * 3)
    def step(source: tf.Tensor, target: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs, _ = model.decode(source, target, training=True)
            hidden = tf.reshape(outputs, (-1, WIDTH))
            loss = linear_cross_entropy(hidden, *model.output_table(), tf.reshape(labels, [-1]), 0.1)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return lambda: float(step(*tf.unstack(ids)))


def decoding_step(length: int, compiled: bool) -> Callable[[], object]:
    """Return a greedy search for so many tokens."""
    import numpy as np

    from transformer.config.settings import SearchConfig
    from transformer.models.transformer import Transformer
    from transformer.search.searcher import Searcher

    model = Transformer(LAYERS, WIDTH, HEADS, INNER, VOCABULARY, VOCABULARY, POSITIONS, POSITIONS, rate=0.1)
    model.build()
    searcher = Searcher([model], SearchConfig(min_length=1), 0 if compiled else sys.maxsize)
    ids = np.random.default_rng(1).integers(4, VOCABULARY, (SENTENCES, length)).astype(np.int32)
    limits = np.full(SENTENCES, length, np.int32)
    return lambda: searcher(ids, limits, limits - 1)


def compare(work: str, lengths: list[int], rounds: int) -> None:
    """Print the JSON lines."""
    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    makers = {
        "train": training_step,
        "decode": lambda length: decoding_step(length, False),
        "decode-xla": lambda length: decoding_step(length, True),
    }
    for length in lengths:
        steps, times = {}, {name: ([], []) for name in VARIANTS}
        for name in VARIANTS:
            with without(name):
                steps[name] = makers[work](length)
                for _ in range(2):
                    steps[name]()
        for _ in range(rounds):
            for name, step in steps.items():
                clock, used = time.perf_counter(), time.process_time()
                step()
                times[name][0].append(time.process_time() - used)
                times[name][1].append(time.perf_counter() - clock)
        for name in VARIANTS:
            row = {"work": work, "length": length, "without": name}
            for unit, own, base in zip(("cpu", "clock"), times[name], times["all"], strict=True):
                row[f"{unit}_s"] = round(statistics.median(own), 5)
                row[f"{unit}_ratio"] = round(statistics.median(a / b for a, b in zip(own, base, strict=True)), 3)
            print(json.dumps(row), flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="kernel_costs.py", description=__doc__.splitlines()[0])
    p.add_argument("--work", choices=("train", "decode", "decode-xla"), default="train", help="(default: %(default)s)")
    p.add_argument("--length", type=int, nargs="+", default=[12, 24], metavar="N", help="tokens (default: 12 24)")
    p.add_argument("--rounds", type=int, default=15, metavar="N", help="(default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(lambda: compare(args.work, args.length, args.rounds))


if __name__ == "__main__":
    sys.exit(main())
