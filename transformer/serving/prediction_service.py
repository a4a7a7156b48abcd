"""Predicting requests that were put together, and writing the answers' JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

from transformer.data.tokenizers.base import MASK_TOKEN
from transformer.inference.predictor import Predictor, described
from transformer.serving.answering import answered
from transformer.tasks.masked_lm import MaskedLM


class PredictionService:
    """Labels, tags, answers or tokens with one run."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def warm_up(self) -> None:
        """Make the graph."""
        text = MASK_TOKEN if isinstance(self.predictor.task, MaskedLM) else "a"
        self.answer(None, [[(text, "a")[: self.predictor.inputs or 1]]])

    def answer(
        self, top_k: int | None, requests: Sequence[Sequence[tuple[str, ...]]], deadline: float = math.inf
    ) -> list[bytes]:
        """Return the answer of each request, a list of inputs, as JSON in UTF-8; `top_k` as of `Predictor.predict`.

        Raises:
            TimedOut: the deadline on the monotonic clock passed, which is checked now and then.
        """

        def predict(inputs: list[tuple[str, ...]]) -> list[dict[str, Any]]:
            results = self.predictor.predict([one if len(one) > 1 else one[0] for one in inputs], top_k)
            return [described(one, result) for one, result in zip(inputs, results, strict=True)]

        return [
            json.dumps({"predictions": entries}, ensure_ascii=False, allow_nan=False).encode()
            for entries in answered(requests, lambda one: sum(map(len, one)), predict, deadline)
        ]
