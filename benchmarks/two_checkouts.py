r"""Compare the speed of this checkout with that of another one, such as the commit before a change.

    git worktree add ../before COMMIT
    python benchmarks/two_checkouts.py ../before DIR         # DIR holds Multi30k's files

The work is that of `training_speed.py` and `decoding_speed.py`, with this package alone: training on two threads, and
searches for 64 sentences greedily, one greedily and 64 with a beam of 4 on one. Each checkout is a process of its own;
they take turns, one round each. Prints a JSON line a checkout and kind of work: median seconds, and the ratio to this
checkout's (median of the rounds' ratios): above 1, the other one is slower.
"""

import os
import sys
import tempfile
from pathlib import Path

import decoding_speed
import training_speed
from systems import System, take_turns

from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

HERE = Path(__file__).parents[1]


def started(checkout: Path, script: str, data: Path, threads: int, *rest: str) -> System:
    """Return the package of a checkout at work."""
    os.environ["PYTHONPATH"] = str(checkout)
    return System(checkout / "benchmarks" / script, "transformer", sys.executable, data, threads, *rest)


def compare(other: Path, folder: Path, rounds: int) -> None:
    """Print the JSON lines."""
    if not (other / "benchmarks" / "training_systems.py").is_file():
        raise UserError(f"{other} is no checkout of this project; make one with git worktree add")
    import_tensorflow()
    checkouts = (HERE, other)
    with tempfile.TemporaryDirectory() as scratch:
        batches, ids = Path(scratch) / "batches.npz", Path(scratch) / "ids.npy"
        training_speed.write_batches(folder, batches)
        decoding_speed.write_ids(folder, ids)
        works = {"training": ("training_systems.py", batches, 2)}
        for mode, (sentences, beam, repeats) in decoding_speed.MODES.items():
            rest = map(str, (sentences, beam, decoding_speed.LENGTH, repeats, 1))
            works[mode] = ("decoding_systems.py", ids, 1, *rest)
        for work, (script, data, threads, *rest) in works.items():
            systems = [started(checkout, script, data, threads, *rest) for checkout in checkouts]
            for system, checkout in zip(systems, checkouts, strict=True):
                system.name = str(checkout)
                if script == "decoding_systems.py":
                    system.answer()  # of the first call
            take_turns(systems, rounds, lambda system, seconds, work=work: {"work": work, "seconds": round(seconds, 4)})


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="two_checkouts.py", description=__doc__.splitlines()[0])
    p.add_argument("other", metavar="CHECKOUT", help="folder of the other checkout")
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's files")
    p.add_argument("--rounds", type=int, default=15, metavar="N", help="(default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(lambda: compare(Path(args.other).resolve(), Path(args.data), args.rounds))


if __name__ == "__main__":
    sys.exit(main())
