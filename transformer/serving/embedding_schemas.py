"""Requests for vectors, and answers, as pydantic checks them and as the OpenAPI document shows them."""

# Annotations stay objects here: those of the request hold limits that are known only when the server starts.

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from transformer.serving.config import ServeConfig
from transformer.serving.offer import Offer, Tell
from transformer.serving.schemas import Health, Integer, list_of_texts

EXAMPLES = ("Where is the station?", "Onde fica a estação?")


class Embedding(BaseModel):
    text: str = Field(description="the text")
    vector: list[float] = Field(description="of the length 1, so that products are cosines; zeros for an empty text")
    warnings: list[str] = Field(description="what a reader should know of it")


class EmbeddingAnswer(BaseModel):
    embeddings: list[Embedding] = Field(description="one for each text, in their order")


class EmbeddingHealth(Health):
    size: int = Field(description="numbers of a vector")


def request_model(limits: ServeConfig, most: int) -> type[BaseModel]:
    """Return the model of a request within the server's limits, for vectors of so many numbers."""
    texts_type = list_of_texts("texts", limits.max_sentences, limits.max_characters, EXAMPLES)

    class EmbeddingRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        texts: texts_type  # type: ignore[valid-type]
        size: Annotated[Integer, Field(ge=1, le=most)] = Field(most, description="so many numbers of each, the first")

    return EmbeddingRequest


def embedding_offer(limits: ServeConfig, task: str, size: int, about: Mapping[str, object]) -> Offer:
    """Return the offer of a run that makes vectors.

    Args:
        limits: of requests.
        task: of the run.
        size: numbers of a vector.
        about: `run` of `EmbeddingHealth`.
    """

    def asked(request: Any, tell: Tell | None) -> tuple[int, Sequence[str]]:
        return request.size, request.texts

    return Offer(
        title="Embedding server",
        path="/embed",
        description="Make vectors of one text or many. Requests that wait are read together.",
        field="texts",
        request=request_model(limits, size),
        answer=EmbeddingAnswer,
        health=EmbeddingHealth,
        about={**about, "task": task, "size": size},
        asked=asked,
        page="embed.html",
    )
