"""A reference Transformer for TensorFlow and Keras 3: the documents' layers, and a translator made of them.

The names of `ROOMS` are importable from here; each is loaded from its room when it is first asked for, so that
`train.py --help` or a typo in a flag does not wait for TensorFlow. TensorFlow is then imported without the notes that
it writes to stderr; $TF_CPP_MIN_LOG_LEVEL, where it is set, says how much it tells later.
"""

import importlib
import sys
from typing import TYPE_CHECKING

ROOMS = {
    "transformer.config.run": ("Config",),
    "transformer.system.errors": ("UserError",),
    "transformer.layers.positions": ("positional_encoding",),
    "transformer.layers.masks": ("create_masks",),
    "transformer.layers.attention": ("MultiHeadAttention", "scaled_dot_product_attention"),
    "transformer.layers.blocks": ("DecoderLayer", "EncoderLayer", "point_wise_feed_forward_network"),
    "transformer.models.transformer": ("Decoder", "Encoder", "Transformer"),
    "transformer.data.document_text": ("preprocess_text",),
    "transformer.inference.document_functions": ("evaluate", "translate"),
    "transformer.inference.translator": ("Translator",),
    "transformer.losses.cross_entropy": ("masked_accuracy", "masked_loss"),
    "transformer.training.schedules": ("TransformerSchedule",),
}
WITHOUT_TENSORFLOW = ("transformer.config.run", "transformer.system.errors", "transformer.data.document_text")
_ROOM_OF = {name: room for room, names in ROOMS.items() for name in names}
__all__ = sorted(_ROOM_OF)

if TYPE_CHECKING:  # `ROOMS` again, for those who read and do not run: editors and type checkers
    from transformer.config.run import Config as Config
    from transformer.data.document_text import preprocess_text as preprocess_text
    from transformer.inference.document_functions import evaluate as evaluate
    from transformer.inference.document_functions import translate as translate
    from transformer.inference.translator import Translator as Translator
    from transformer.layers.attention import MultiHeadAttention as MultiHeadAttention
    from transformer.layers.attention import scaled_dot_product_attention as scaled_dot_product_attention
    from transformer.layers.blocks import DecoderLayer as DecoderLayer
    from transformer.layers.blocks import EncoderLayer as EncoderLayer
    from transformer.layers.blocks import point_wise_feed_forward_network as point_wise_feed_forward_network
    from transformer.layers.masks import create_masks as create_masks
    from transformer.layers.positions import positional_encoding as positional_encoding
    from transformer.losses.cross_entropy import masked_accuracy as masked_accuracy
    from transformer.losses.cross_entropy import masked_loss as masked_loss
    from transformer.models.transformer import Decoder as Decoder
    from transformer.models.transformer import Encoder as Encoder
    from transformer.models.transformer import Transformer as Transformer
    from transformer.system.errors import UserError as UserError
    from transformer.training.schedules import TransformerSchedule as TransformerSchedule
else:

    def __getattr__(name):
        if name not in _ROOM_OF:
            raise AttributeError(f"module 'transformer' has no attribute '{name}'")
        room = _ROOM_OF[name]
        if room not in WITHOUT_TENSORFLOW and "tensorflow" not in sys.modules:
            importlib.import_module("transformer.system.tensorflow").import_tensorflow()
        value = getattr(importlib.import_module(room), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF})
