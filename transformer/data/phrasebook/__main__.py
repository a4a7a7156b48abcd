"""Print the counts of the phrasebook and a few of its sentences."""

from transformer.interrupts import quiet_start

if __name__ == "__main__":
    quiet_start()

import random

from transformer.data import phrasebook


def main() -> int:
    """Print `describe()` and a random sample of each split."""
    for name, value in phrasebook.describe().items():
        print(f"{name:14} {value:.2%}" if name == "largest_share" else f"{name:14} {value:,}")
    for split in phrasebook.SPLITS:
        print(f"\n{split}")
        for sentence in random.sample(phrasebook.generate(split), 5):
            print(f"  {sentence.pt}\n  {sentence.en}\n  {sentence.zh}  [{sentence.pattern}]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
