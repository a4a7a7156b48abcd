r"""Compare the speed at which this package and PyTorch train a small language model on the same windows.

    pip install -e ".[bench]"
    python benchmarks/language_model_speed.py FILE               # FILE is a text, such as tiny Shakespeare

nanoGPT's model for a CPU (4 layers of width 128 with 4 heads, no biases or dropout, float32, AdamW, clipped gradients)
reads random windows of 64 characters, 12 a batch. Each system is a process of its own; they take turns, one round of
`--batches` steps each. PyTorch gets one thread, and two that do not wait actively (OMP_WAIT_POLICY=passive); what is
on TensorFlow gets the products of oneDNN, through the environment that `import_tensorflow` sets. Prints a JSON line
a system: median tokens per second, and the ratio of ours to it (median of the rounds' ratios).
"""

import os
import sys
import tempfile
from pathlib import Path

from language_model_systems import CONTEXT
from systems import System, take_turns

from transformer.commands.parser import Parser
from transformer.ids import END_ID
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

WINDOWS = 12  # a batch
SCRIPT = Path(__file__).with_name("language_model_systems.py")


def compare(text: str, batches: int, rounds: int, python: str) -> None:
    """Print the JSON lines."""
    import_tensorflow()  # sets the environment of the systems
    import numpy as np

    os.environ["OMP_WAIT_POLICY"] = "passive"
    _, ids = np.unique(list(text), return_inverse=True)
    starts = np.random.default_rng(1).integers(0, len(ids) - CONTEXT, (batches, WINDOWS, 1))
    windows = ids[starts + np.arange(CONTEXT + 1)].astype(np.int32) + END_ID + 1  # 0 to 3 stand for no character

    def describe(system: System, seconds: float) -> dict[str, object]:
        return {"tokens_per_s": round(batches * WINDOWS * CONTEXT / seconds)}

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "windows.npy"
        np.save(path, windows)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        asked = [("transformer", sys.executable, cores), ("pytorch", python, 1), ("pytorch", python, 2)]
        take_turns([System(SCRIPT, name, used, path, threads) for name, used, threads in asked], rounds, describe)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="language_model_speed.py", description=__doc__.splitlines()[0])
    p.add_argument("file", metavar="FILE", help="text in UTF-8")
    p.add_argument("--python", default=sys.executable, metavar="PYTHON", help="with PyTorch (default: this one)")
    p.add_argument("--batches", type=int, default=50, metavar="N", help="steps of a round (default: %(default)s)")
    p.add_argument("--rounds", type=int, default=10, metavar="N", help="of each system (default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(
        lambda: compare(Path(args.file).read_text(encoding="utf-8"), args.batches, args.rounds, args.python)
    )


if __name__ == "__main__":
    sys.exit(main())
