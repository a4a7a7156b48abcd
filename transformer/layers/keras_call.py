"""The documents' call order under Keras 3, and no implicit masks."""

import inspect
from collections.abc import Callable
from typing import Any


class PositionalCallMixin:
    """Let a Keras layer be called with the documents' positional arguments, `layer(x, False, mask)`.

    Keras 3 accepts only tensors as positional arguments and refuses a positional `training`. This mixin binds what it
    is given to the names of `call` and hands everything from the first `training` or mask on to Keras as keywords.
    Place it before the Keras class: `class EncoderLayer(PositionalCallMixin, Layer)`.

    It also keeps Keras' implicit masks out. They vanish at the first residual connection, so nothing here passes one
    on, and an input that carries one where no mask was given is refused rather than attended to in full.

    Raises:
        TypeError: too many arguments, or one given twice.
        ValueError: an input carries Keras' implicit mask and the call gives no mask.

    Deviation: the documents run on Keras 2, which took the arguments as they came.
    """

    call: Callable[..., Any]  # of the class that this is mixed into
    _call_names: tuple[str, ...]
    _first_keyword: int

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names = tuple(inspect.signature(cls.call).parameters)[1:]
        keyword = [name == "training" or name.endswith("mask") for name in names]
        cls._call_names = names
        cls._first_keyword = keyword.index(True) if True in keyword else len(names)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        names, first = self._call_names, self._first_keyword
        if len(args) > len(names):
            raise TypeError(
                f"{type(self).__name__} takes at most {len(names)} arguments ({', '.join(names)}), got {len(args)}"
            )
        for name, value in zip(names[first:], args[first:], strict=False):
            if name in kwargs:
                raise TypeError(f"{type(self).__name__} got multiple values for argument '{name}'")
            kwargs[name] = value
        if all(value is None for name, value in kwargs.items() if name.endswith("mask")):
            for name, value in zip(names, args[:first], strict=False):
                if getattr(value, "_keras_mask", None) is not None:
                    raise ValueError(
                        f"{name} of {type(self).__name__} carries Keras' implicit mask, which is not used here; "
                        "pass a boolean mask (True = may attend), and build the embedding without mask_zero"
                    )
        return super().__call__(*args[:first], **kwargs)  # type: ignore[misc]  # of the Keras class

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """Return None: no implicit mask leaves the layer."""
        return None
