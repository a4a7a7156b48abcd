"""Train a translator: `python train.py` learns Portuguese to English from the embedded phrasebook in minutes."""

from transformer.system.interrupts import quiet_start

if __name__ == "__main__":
    quiet_start()

import sys

from transformer.commands.train import main

if __name__ == "__main__":
    sys.exit(main())
