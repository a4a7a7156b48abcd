"""Checks of arguments that several layers share."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

Shape = tuple[int | None, ...]  # as Keras hands it to `build`; None: of any length


def check_sizes(**sizes: object) -> None:
    """Refuse a size that is not a positive integer.

    Args:
        sizes: the sizes by the name the caller knows them by.

    Raises:
        ValueError: names the first bad one.
    """
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


def check_heads(d_model: int, num_heads: int) -> None:
    """Refuse a model width that the heads cannot share equally.

    Raises:
        ValueError: `d_model` or `num_heads` is below 1, or the one is no multiple of the other.
    """
    check_sizes(d_model=d_model, num_heads=num_heads)
    if d_model % num_heads:
        raise ValueError(f"d_model must be a multiple of num_heads, got d_model={d_model} and num_heads={num_heads}")


def check_mask(mask: tf.Tensor | None, name: str = "mask") -> None:
    """Refuse a mask that is not a boolean tensor.

    Raises:
        ValueError: `mask` is no tensor, or one of another type.
    """
    import tensorflow as tf

    if mask is None:
        return
    dtype = getattr(mask, "dtype", None)
    if dtype is None or tf.as_dtype(dtype) != tf.bool:
        kind = type(mask).__name__ if dtype is None else tf.as_dtype(dtype).name
        raise ValueError(
            f"{name} must be a boolean tensor with True = may attend, got {kind}; "
            "a float mask with 1 = hidden becomes `mask == 0`"
        )
