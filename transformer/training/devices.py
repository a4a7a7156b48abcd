"""What this machine makes of a precision: matrix multiplications in hardware, or emulated ones."""

import time

import tensorflow as tf

from transformer.system.threads import cores

SIZE = 512  # of the square matrices, about those of a small model's step
ROUNDS = 10  # interleaved; the fastest of each counts, so that other work on the machine does not
EMULATION_RATIO = 2.0  # times as slow as float32


def devices(strategy: tf.distribute.Strategy, workers: int = 1) -> str:
    """Return what trains, in words: '2 CPU cores' or '1 GPU (NVIDIA L4)', and on how many machines."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        count = strategy.num_replicas_in_sync // workers
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "")
        told = f"{count} GPU{'s' * (count != 1)}" + f" ({name})" * bool(name)
    else:
        count = cores()
        told = f"{count} CPU core{'s' * (count != 1)}"
    return told if workers == 1 else f"{workers} machines with {told} each"


def matmul_time_ratio(precision: str) -> float:
    """Return how many times as long as in float32 a matrix multiplication takes: about 0.5 in hardware."""
    matrices = [tf.ones((SIZE, SIZE), dtype) for dtype in ("float32", precision)]
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS + 1):
        for matrix, taken in zip(matrices, seconds, strict=True):
            start = time.perf_counter()
            tf.matmul(matrix, matrix).numpy()
            taken.append(time.perf_counter() - start)
    float32, asked = (min(taken[1:]) for taken in seconds)  # the first prepares the kernel
    return asked / float32


def precision_warnings(precision: str) -> list[str]:
    """Return what speaks against a precision here: that the machine emulates its matrix multiplications."""
    if precision == "float32" or (times := matmul_time_ratio(precision)) < EMULATION_RATIO:
        return []
    return [f"this machine emulates {precision}: a matrix multiplication takes {times:.1f} times as long as in float32"]
