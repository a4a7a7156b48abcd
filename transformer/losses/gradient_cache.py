"""Gradients of a batch that is larger than the memory: a few rows are embedded at a time, forwards and backwards.

Axes: B rows of a batch, E numbers of a vector.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf


def in_chunks(
    function: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, size: int, states: Sequence[keras.Variable] = ()
) -> tf.Tensor:
    """Return the vectors of rows, (B, E), as `function` gives them for `size` rows at a time.

    Going forwards, nothing but the vectors is kept. Going backwards, each chunk is read once more, from the same random
    states, and the gradients of its weights are added up. Value and gradient are those of `function(rows)`; the memory
    is that of one chunk, and the time a third more.

    Args:
        function: from rows (b, ...) to vectors (b, E); rows of zeros may be added, and their vectors are dropped.
        rows: (B, ...) integers.
        size: rows of a chunk.
        states: what random numbers are made from, which `function` moves on.

    Source: Gao et al. 2021, section 3.
    """
    count = (tf.shape(rows)[0] + size - 1) // size
    padding = count * size - tf.shape(rows)[0]

    def padded(values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values, [[0, padding], *[[0, 0]] * (values.shape.rank - 1)])

    def loop(body: Callable, start: Sequence) -> Sequence:
        """Call a body with each chunk's number and what it returned before; one chunk at a time."""
        _, found = tf.while_loop(
            lambda i, _: i < count, lambda i, parts: (i + 1, body(i, parts)), (0, start), parallel_iterations=1
        )
        return found

    @tf.custom_gradient
    def embedded(chunks: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        before = [tf.identity(state.value) for state in states]

        def forward(i: tf.Tensor, parts: Sequence) -> Sequence:
            return [parts[0].write(i, function(chunks[i * size : (i + 1) * size]))]

        (vectors,) = loop(forward, [tf.TensorArray(tf.float32, count, element_shape=None, infer_shape=False)])

        def gradient(upstream: tf.Tensor, variables: Sequence[tf.Variable] | None = None) -> tuple:
            weights = list(variables or ())
            for state, value in zip(states, before, strict=True):
                state.assign(value)

            def backward(i: tf.Tensor, sums: Sequence) -> Sequence:
                part = slice(i * size, (i + 1) * size)
                with tf.GradientTape() as tape:
                    found = function(chunks[part])
                own = tape.gradient(found, weights, upstream[part], tf.UnconnectedGradients.ZERO)
                return [total + tf.convert_to_tensor(one) for total, one in zip(sums, own, strict=True)]

            return None, list(loop(backward, [tf.zeros(weight.shape, weight.dtype) for weight in weights]))

        return vectors.concat(), gradient

    return embedded(padded(rows))[: tf.shape(rows)[0]]
