"""Print the counts of the phrasebook and a few of its sentences."""

from transformer.system.interrupts import quiet_start

if __name__ == "__main__":
    quiet_start()

import argparse
import random
import sys

from transformer.data import phrasebook
from transformer.system.process import exit_code


def main(argv: list[str] | None = None) -> int:
    """Print `describe()` and a random sample of each split; returns the exit code."""
    argparse.ArgumentParser(prog="python -m transformer.data.phrasebook", description=__doc__).parse_args(argv)
    return exit_code(show)


def show() -> None:
    """Print them."""
    for name, value in phrasebook.describe().items():
        print(f"{name:14} {value:.2%}" if name == "largest_share" else f"{name:14} {value:,}")
    for split in phrasebook.SPLITS:
        print(f"\n{split}")
        for sentence in random.sample(phrasebook.generate(split), 5):
            print(f"  {sentence.pt}\n  {sentence.en}\n  {sentence.zh}  [{sentence.pattern}]")


if __name__ == "__main__":
    sys.exit(main())
