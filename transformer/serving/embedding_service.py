"""Embedding requests that were put together, and writing the answers' JSON."""

import json
import math
from collections.abc import Sequence

from transformer.inference.embedder import Embedder
from transformer.serving.answering import answered


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

        def embed(texts: list[str]) -> list[dict[str, object]]:
            found = self.embedder.embed_and_warn(texts, size)
            return [
                {
                    "text": text,
                    "vector": [round(float(x), 7) for x in vector],
                    "warnings": [found.warnings[i]] if i in found.warnings else [],
                }
                for i, (text, vector) in enumerate(zip(texts, found.vectors, strict=True))
            ]

        return [
            json.dumps({"embeddings": entries}, ensure_ascii=False, allow_nan=False).encode()
            for entries in answered(requests, len, embed, deadline)
        ]
