"""Keras' dropout and normalisation layers, and `tf.matmul`, with the same results in fewer operations.

A training step on a CPU is bound by memory and by the number of operations almost as much as by matrix multiplication.
These layers are Keras' own by weights, arguments and results; only `call` is written anew. Beside each stands what a
training step costs without it, on one thread (`python benchmarks/kernel_costs.py`); below 2 % it would go.

Axes: ... any, N their product, D width.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

SMALL = 128 * 128  # multiplications of a product up to which TensorFlow's kernel does not divide it, and is fast


@keras.saving.register_keras_serializable(package="transformer")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` from half the random bits: each place is kept or not by 16 of them.

    The rate is thus met to within 2^-17, and kept values are divided by exactly the share that is kept. Without it, a
    step takes 3 to 5 % longer on an Intel Xeon.

    Call: `dropout(x, training)` with x of any shape. Returns the same shape.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = False) -> tf.Tensor:
        if not training or not self.rate or self.noise_shape:
            return super().call(inputs, training=training)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        return _dropped(inputs, seed, round(self.rate * 2**16))


def _dropped(x: tf.Tensor, seed: tf.Tensor, dropped: int) -> tf.Tensor:
    """Drop each place of x with a probability of `dropped` / 2^16, and scale up the others."""
    if dropped == 2**16:
        return tf.zeros_like(x)
    count = tf.size(x)
    bits = tf.random.stateless_uniform([(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
    places = tf.reshape(tf.reshape(tf.bitcast(bits, tf.int16), [-1])[:count], tf.shape(x))
    scale = tf.constant(2**16 / (2**16 - dropped), x.dtype)
    factors = tf.cast(places >= dropped - 2**15, x.dtype) * scale

    @tf.custom_gradient
    def times_factors(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return x * factors, lambda upstream: upstream * factors

    return times_factors(x)


@keras.saving.register_keras_serializable(package="transformer")
class LayerNormalization(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` over the last axis, with its gradient written out; without it, 3 % longer.

    Call: `layernorm(x)` with x (..., D). Returns the same shape.

    Source: Ba et al. 2016, equation 3; the gradient by hand.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        beta = tf.zeros(inputs.shape[-1:]) if self.beta is None else self.beta
        x, gamma, beta = (tf.cast(tf.convert_to_tensor(part), tf.float32) for part in (inputs, self.gamma, beta))
        return tf.cast(_normalised(x, gamma, beta, self.epsilon), self.compute_dtype)


def _normalised(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Return gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis; gamma and beta are (D,)."""

    @tf.custom_gradient
    def forward(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True) + epsilon)
        unit = centred * inverse

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            axes = tf.range(tf.rank(x) - 1)
            d_unit = upstream * gamma
            d_mean = tf.reduce_mean(d_unit, axis=-1, keepdims=True)
            d_scale = tf.reduce_mean(d_unit * unit, axis=-1, keepdims=True)
            d_x = (d_unit - d_mean - unit * d_scale) * inverse
            return d_x, tf.reduce_sum(upstream * unit, axes), tf.reduce_sum(upstream, axes)

        return unit * gamma + beta, gradient

    return forward(x, gamma, beta)


@keras.saving.register_keras_serializable(package="transformer")
class RMSNormalization(keras.layers.RMSNormalization):
    """`keras.layers.RMSNormalization` over the last axis, x / sqrt(mean(x^2) + epsilon) * scale, in float32.

    Call: `norm(x)` with x (..., D). Returns the same shape.

    Source: Zhang and Sennrich 2019, equation 4.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x, scale = (tf.cast(tf.convert_to_tensor(part), tf.float32) for part in (inputs, self.scale))
        inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=-1, keepdims=True) + self.epsilon)
        return tf.cast(x * inverse * scale, self.compute_dtype)


def matmul(x: tf.Tensor, y: tf.Tensor, transpose_b: bool = False, training: bool | None = None) -> tf.Tensor:
    """Return x y or x y^T, as `tf.matmul` does: (..., M, K) by (..., K, N) or (..., N, K) -> (..., M, N).

    On x86 processors `tf.matmul` is oneDNN's, which takes almost a microsecond for a product, however small.
    TensorFlow's own kernel, behind `BatchMatMulV3`, is up to twice as fast up to `SMALL` multiplications, and slower
    above. Training multiplies many small matrices and takes it for float32, where there is no GPU. Without it, a step
    takes 6 % more processor time on an AMD EPYC, and 2 % less on an Intel Xeon.

    Args:
        x, y: the leading axes equal; where they are not, it is `tf.matmul` that multiplies.
        transpose_b: whether y is transposed.
        training: whether this is a training step.
    """
    leading = x.shape[:-2] == y.shape[:-2] and x.shape.rank
    if not training or not leading or x.dtype != tf.float32 or tf.config.list_physical_devices("GPU"):
        return tf.matmul(x, y, transpose_b=transpose_b)
    work = tf.reduce_prod(tf.shape(x)[-2:]) * tf.shape(y)[-2 if transpose_b else -1]  # M K N
    return _small_products(work)(x, y, transpose_b=transpose_b)


def _small_products(work: tf.Tensor) -> Callable[..., tf.Tensor]:
    """Return `matmul` for products of `work` multiplications each, and for those of its gradients."""

    def kernel(x: tf.Tensor, y: tf.Tensor, transpose_a: bool, transpose_b: bool) -> tf.Tensor:
        return tf.cond(
            work <= SMALL,
            lambda: tf.raw_ops.BatchMatMulV3(x=x, y=y, Tout=x.dtype, adj_x=transpose_a, adj_y=transpose_b),
            lambda: tf.matmul(x, y, transpose_a, transpose_b),
        )

    def product_of(x: tf.Tensor, y: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False) -> tf.Tensor:
        @tf.custom_gradient
        def product(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, Callable]:
            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                if transpose_a:
                    return product_of(y, upstream, transpose_b=True), product_of(x, upstream)
                if transpose_b:
                    return product_of(upstream, y), product_of(upstream, x, transpose_a=True)
                return product_of(upstream, y, transpose_b=True), product_of(x, upstream, transpose_a=True)

            return kernel(x, y, transpose_a, transpose_b), gradient

        return product(x, y)

    return product_of
