"""Functions as TensorFlow graphs."""

import contextvars
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_compiled = contextvars.ContextVar("compiled", default=False)


def compiled(function: Callable) -> Callable:
    """Return a function of tensors compiled by XLA, once for each shape that comes, for use in a `Graph`."""

    def traced(*arguments: Any) -> Any:
        token = _compiled.set(True)
        try:
            return function(*arguments)
        finally:
            _compiled.reset(token)

    return tf.function(traced, autograph=False, jit_compile=True)


def being_compiled() -> bool:
    """Return whether the code that runs now is made into a function that is `compiled`."""
    return _compiled.get()


class Graph:
    """A function as one graph, made when it is first called, for all shapes that its signature leaves open.

    It is a `tf.function` that can be made for each of several objects. Called directly, each of them would count as one
    more tracing of the same code, and TensorFlow would warn of the fifth as needless.

    Args:
        function: of tensors; Python control flow over them is not converted, which would take seconds.
        signature: a `tf.TypeSpec` for each of its arguments.
    """

    def __init__(self, function: Callable, *signature: Any) -> None:
        self._function = tf.function(function, input_signature=signature, autograph=False)

    @property
    def traces(self) -> int:
        """Number of graphs made so far: 0 or 1."""
        return self._function.experimental_get_tracing_count()

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns; arguments are converted to tensors."""
        if not self.traces:
            with tf.init_scope():  # no part of a graph that is being made around it
                self._function.get_concrete_function()
        return self._function(*arguments)
