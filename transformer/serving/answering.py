"""What services that answer text by text share: requests are put together, and each gets its own answers back."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from transformer.serving.batcher import TimedOut

Input = TypeVar("Input")
Output = TypeVar("Output")
TOGETHER = 32  # inputs between two looks at the clock


def answered(
    requests: Sequence[Sequence[Input]],
    length: Callable[[Input], int],
    answer: Callable[[list[Input]], Sequence[Output]],
    deadline: float,
) -> list[list[Output]]:
    """Return what is answered to the inputs of each request.

    Args:
        requests: lists of inputs.
        length: of an input; those of like lengths are answered together.
        answer: returns an output for each of some inputs.
        deadline: on the monotonic clock.

    Raises:
        TimedOut: the deadline passed, which is checked now and then.
    """
    inputs = [one for request in requests for one in request]
    order = sorted(range(len(inputs)), key=lambda i: length(inputs[i]))
    found: dict[int, Output] = {}
    for start in range(0, len(order), TOGETHER):
        if monotonic() > deadline:
            raise TimedOut
        some = order[start : start + TOGETHER]
        found |= dict(zip(some, answer([inputs[i] for i in some]), strict=True))
    outputs = (found[i] for i in range(len(inputs)))
    return [[next(outputs) for _ in request] for request in requests]
