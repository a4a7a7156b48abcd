"""Embedding requests that were put together, and writing the answers' JSON."""

import json
import math
from collections.abc import Sequence
from time import monotonic

from transformer.inference.embedder import Embedder
from transformer.serving.batcher import TimedOut

TOGETHER = 32  # texts between two looks at the clock


class EmbeddingService:
    """Makes vectors with one run."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def warm_up(self) -> None:
        """Make the graph."""
        self.answer(0, [["a"]])

    def answer(self, size: int, requests: Sequence[Sequence[str]], deadline: float = math.inf) -> list[bytes]:
        """Return the answer of each request, a list of texts, as JSON in UTF-8.

        Args:
            size: numbers of each vector; 0: all.
            requests: lists of texts.
            deadline: on the monotonic clock.

        Raises:
            TimedOut: the deadline passed, which is checked now and then.
        """
        texts = [text for request in requests for text in request]
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors: dict[int, list[float]] = {}
        warnings: dict[int, str] = {}
        for start in range(0, len(order), TOGETHER):
            if monotonic() > deadline:
                raise TimedOut
            some = order[start : start + TOGETHER]
            found = self.embedder.embed_and_warn([texts[i] for i in some], size)
            vectors |= {i: [round(float(x), 7) for x in v] for i, v in zip(some, found.vectors, strict=True)}
            warnings |= {some[i]: told for i, told in found.warnings.items()}
        answers, place = [], 0
        for request in requests:
            entries = []
            for i, text in enumerate(request, start=place):
                told = [warnings[i]] if i in warnings else []
                entries.append({"text": text, "vector": vectors[i], "warnings": told})
            place += len(request)
            answers.append(json.dumps({"embeddings": entries}, ensure_ascii=False, allow_nan=False).encode())
        return answers
