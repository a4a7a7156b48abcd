"""Activations of the feed-forward network with their gradients written out: fewer passes over the widest tensors."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="transformer")
def gelu(x: tf.Tensor) -> tf.Tensor:
    """Return x P(X <= x) with X of the normal distribution: x / 2 * (1 + erf(x / sqrt(2))).

    Source: Hendrycks and Gimpel 2016, section 2.
    """

    @tf.custom_gradient
    def forward(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        twice = 1.0 + tf.math.erf(x * math.sqrt(0.5))  # 2 P(X <= x)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            density = math.sqrt(0.5 / math.pi) * tf.exp(-0.5 * tf.square(x))
            return upstream * (0.5 * twice + x * density)

        return 0.5 * x * twice, gradient

    return forward(x)


@keras.saving.register_keras_serializable(package="transformer")
def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """Return x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), GPT-2's form of GELU, with its gradient written out.

    Source: Hendrycks and Gimpel 2016, section 2; Radford et al. 2019 (the code of GPT-2).
    """
    slope = math.sqrt(2.0 / math.pi)

    @tf.custom_gradient
    def forward(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        square = x * x
        tanh = tf.tanh(x * (slope + slope * 0.044715 * square))

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            inner = x * (slope + 3.0 * slope * 0.044715 * square)  # x times the derivative of what tanh takes
            return upstream * (0.5 * (1.0 + tanh) * (1.0 + inner * (1.0 - tanh)))

        return 0.5 * x * (1.0 + tanh), gradient

    return forward(x)


OWN = {"gelu": gelu, "gelu_tanh": gelu_tanh}


def activation_of(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the activation of a name: 'gelu', 'gelu_tanh', or any that Keras knows; else a ValueError."""
    return OWN.get(name) or keras.activations.get(name)
