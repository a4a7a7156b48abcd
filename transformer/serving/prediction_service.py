"""Predicting requests that were put together, and writing the answers' JSON."""

import json
import math
from collections.abc import Sequence
from time import monotonic

from transformer.data.tokenizers.base import MASK_TOKEN
from transformer.inference.predictor import Predictor, Result, described
from transformer.serving.batcher import TimedOut
from transformer.tasks.masked_lm import MaskedLM

TOGETHER = 32  # texts between two looks at the clock


class PredictionService:
    """Labels, tags, answers or tokens with one run."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def warm_up(self) -> None:
        """Make the graph."""
        text = MASK_TOKEN if isinstance(self.predictor.task, MaskedLM) else "a"
        self.answer(None, [[(text, "a")[: self.predictor.inputs]]])

    def answer(
        self, top_k: int | None, requests: Sequence[Sequence[tuple[str, ...]]], deadline: float = math.inf
    ) -> list[bytes]:
        """Return the answer of each request, a list of inputs, as JSON in UTF-8; `top_k` as of `Predictor.predict`.

        Raises:
            TimedOut: the deadline on the monotonic clock passed, which is checked now and then.
        """
        inputs = [one for request in requests for one in request]
        order = sorted(range(len(inputs)), key=lambda i: sum(map(len, inputs[i])))
        found: dict[int, Result] = {}
        for start in range(0, len(order), TOGETHER):
            if monotonic() > deadline:
                raise TimedOut
            some = order[start : start + TOGETHER]
            results = self.predictor.predict([inputs[i] if len(inputs[i]) > 1 else inputs[i][0] for i in some], top_k)
            found |= dict(zip(some, results, strict=True))
        answers, place = [], 0
        for request in requests:
            entries = [described(one, found[place + i]) for i, one in enumerate(request)]
            place += len(request)
            answers.append(json.dumps({"predictions": entries}, ensure_ascii=False, allow_nan=False).encode())
        return answers
