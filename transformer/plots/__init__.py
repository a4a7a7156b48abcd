"""Pictures. Needs the extra `[plots]`.

Every function that draws returns a matplotlib figure and, where it is given a `path`, also saves it as a PNG file. Each
raises UserError where matplotlib is not installed, the picture would be too large, or the file cannot be written. They
share one style, see `style.py`. A notebook that says `%matplotlib inline` shows the figure that a cell ends with.
`commands/plot.py` is their command line.
"""

from transformer.plots.confusion import confusion_map
from transformer.plots.curves import cost_growth, curves, histograms, learning_rates, length_bleu
from transformer.plots.heat_maps import attention_heads, attention_map, mask_maps, position_maps
from transformer.plots.runs import read_metrics, training_curves
from transformer.plots.search import beam_tree, token_probabilities

__all__ = [
    "attention_heads",
    "attention_map",
    "beam_tree",
    "confusion_map",
    "cost_growth",
    "curves",
    "histograms",
    "learning_rates",
    "length_bleu",
    "mask_maps",
    "position_maps",
    "read_metrics",
    "token_probabilities",
    "training_curves",
]
