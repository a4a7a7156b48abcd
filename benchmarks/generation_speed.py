r"""Compare the speed at which this package and its peers continue a prompt.

    pip install -e ".[bench]"
    python benchmarks/generation_speed.py                        # peers that are not installed are left out
    python benchmarks/generation_speed.py --python PYTHON        # a Python that has the peers

A GPT-2 of random weights (4 layers of width 128 with 4 heads, and 6 of 384 with 6; 8,000 words, 512 positions, float32)
is built with each library and continues one prompt of 16 tokens greedily by 256, one thread each. Each system is a
process of its own; they take turns, one round each. Prints a JSON line a system and size: median tokens per second, the
ratio of ours to it (median of the rounds' ratios), and the seconds of its first call, which compiles.
"""

import sys
import tempfile
from pathlib import Path

from generation_systems import SYSTEMS, VOCABULARY
from systems import System, take_turns

from transformer.commands.parser import Parser
from transformer.ids import END_ID
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SIZES = {"4x128": (4, 128, 4), "6x384": (6, 384, 6)}  # layers, width, heads
PROMPT = 16  # tokens
SCRIPT = Path(__file__).with_name("generation_systems.py")


def compare(names: list[str], sizes: list[str], tokens: int, rounds: int, threads: int, python: str) -> None:
    """Print the JSON lines."""
    import_tensorflow()  # sets the environment of the systems
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "prompt.npy"
        np.save(path, np.random.default_rng(1).integers(END_ID + 1, VOCABULARY, PROMPT).astype(np.int32))
        for size in sizes:
            systems = []
            for name in names:
                rest = map(str, (*SIZES[size], tokens))
                try:
                    interpreter = sys.executable if name == "transformer" else python
                    system = System(SCRIPT, name, interpreter, path, threads, *rest)
                    system.first = system.answer()
                    systems.append(system)
                except UserError as error:
                    print(f"{size}: {error}", file=sys.stderr, flush=True)

            def describe(system: System, seconds: float, size: str = size) -> dict[str, object]:
                return {
                    "size": size,
                    "tokens_per_s": round(tokens / seconds),
                    "first_call_s": round(system.first, 2),
                }

            if systems:
                take_turns(systems, rounds, describe)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="generation_speed.py", description=__doc__.splitlines()[0])
    p.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME", help="peers (default: all)")
    p.add_argument("--sizes", nargs="+", choices=SIZES, metavar="SIZE", default=list(SIZES), help="(default: all)")
    p.add_argument("--tokens", type=int, default=256, metavar="N", help="(default: %(default)s)")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    p.add_argument("--threads", type=int, default=1, metavar="N", help="(default: %(default)s)")
    p.add_argument("--python", metavar="PYTHON", default=sys.executable, help="of an environment that has the peers")
    args = p.parse_args(argv)
    names = ["transformer", *(name for name in args.systems or SYSTEMS if name != "transformer")]
    return exit_code(lambda: compare(names, args.sizes, args.tokens, args.rounds, args.threads, args.python))


if __name__ == "__main__":
    sys.exit(main())
