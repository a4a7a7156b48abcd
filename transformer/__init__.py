"""A reference Transformer for TensorFlow and Keras 3: the documents' layers, and a translator made of them.

The names of `ROOMS` are importable from here; each is loaded from its room when it is first asked for, so that
`train.py --help` or a typo in a flag does not wait for TensorFlow.
"""

import importlib

ROOMS = {
    "transformer.config": ("Config", "UserError"),
    "transformer.layers.positions": ("positional_encoding",),
    "transformer.layers.masks": ("create_masks",),
    "transformer.layers.attention": ("MultiHeadAttention", "scaled_dot_product_attention"),
    "transformer.layers.blocks": ("DecoderLayer", "EncoderLayer", "point_wise_feed_forward_network"),
    "transformer.models.translation": ("Decoder", "Encoder", "Transformer"),
    "transformer.data.documents": ("preprocess_text",),
    "transformer.inference.sentences": ("evaluate", "translate"),
    "transformer.inference.translator": ("Translator",),
    "transformer.training.losses": ("masked_accuracy", "masked_loss"),
    "transformer.training.schedules": ("TransformerSchedule",),
}
_ROOM_OF = {name: room for room, names in ROOMS.items() for name in names}

__all__ = sorted(_ROOM_OF)


def __getattr__(name: str):
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'transformer' has no attribute '{name}'")
    value = getattr(importlib.import_module(_ROOM_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOM_OF})
