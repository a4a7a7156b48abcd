"""Pictures. Needs the extra `[plots]`.

    python -m transformer.plots runs/one runs/two                      # their training curves, in curves.png
    python -m transformer.plots runs/one --sentence "Bom dia." --output attention.png

Every function here returns a matplotlib figure and, where it is given a path, also saves it as a PNG file. They share
one style, see `style.py`. A notebook that says `%matplotlib inline` shows the figure that a cell ends with.
"""

import sys

from transformer.system.interrupts import quiet_start

if sys.argv[:1] == ["-m"] and __name__ in sys.orig_argv:  # as a script, whose `__main__` is imported after this
    quiet_start()

from transformer.plots.command import main
from transformer.plots.curves import cost_growth, curves, histograms, learning_rates, length_bleu
from transformer.plots.heat_maps import attention_heads, attention_map, mask_maps, position_maps
from transformer.plots.runs import read_metrics, training_curves
from transformer.plots.search import beam_tree, token_probabilities

__all__ = [
    "attention_heads",
    "attention_map",
    "beam_tree",
    "cost_growth",
    "curves",
    "histograms",
    "learning_rates",
    "length_bleu",
    "main",
    "mask_maps",
    "position_maps",
    "read_metrics",
    "token_probabilities",
    "training_curves",
]
