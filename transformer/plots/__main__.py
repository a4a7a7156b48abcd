"""`python -m transformer.plots`."""

import sys

from transformer.plots.command import main

if __name__ == "__main__":
    sys.exit(main())
