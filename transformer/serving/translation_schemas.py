"""Requests to a translator, and answers, as pydantic checks them and as the OpenAPI document shows them."""

# Annotations stay objects here: those of the request hold limits that are known only when the server starts.

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from transformer.serving.config import ServeConfig
from transformer.serving.offer import Offer, Tell
from transformer.serving.schemas import Health, Integer, list_of_texts

EXAMPLES = ("A dog runs.", "Two people are talking.")


class Kind(NamedTuple):
    """Settings that requests must share to be translated together."""

    beam_size: int
    n_best: int
    attention: bool


class Hypothesis(BaseModel):
    text: str
    score: float = Field(description="penalised log-probability, by which hypotheses are ordered")
    log_probability: float = Field(description="summed over tokens, in nats")
    finished: bool = Field(description="false where the longest length cut the translation off")
    confidence: float | None = Field(
        description="estimated probability, from 0 to 1, that the translation is right; null where the run tells none"
    )
    unsure: bool = Field(description="true where the confidence is below the run's threshold")
    tokens: list[str] = Field(description="pieces of the translation; empty without attention")
    token_log_probabilities: list[float] = Field(description="in nats, the end token included")
    alignment: list[tuple[int, int]] = Field(
        description="(source token, token) pairs: where each token looks most; empty without attention"
    )
    attention: list[list[float]] | None = Field(
        description="a row for each of tokens and one for the end token if finished; a column for the start token, "
        "for each of source_tokens, and for the end token; weights of the last decoder layer, mean over heads; null "
        "where it was not asked for, and for sentences that are empty, too long, or beyond the answer's limit"
    )


class SentenceTranslation(BaseModel):
    source: str
    source_tokens: list[str] = Field(description="pieces of the sentence; empty without attention")
    hypotheses: list[Hypothesis] = Field(description="best first")
    warnings: list[str] = Field(description="what a reader of the best hypothesis should know")


class TranslationAnswer(BaseModel):
    translations: list[SentenceTranslation] = Field(description="one for each sentence, in their order")


class TranslationHealth(Health):
    source_language: str
    target_language: str
    beam_size: int = Field(description="of requests that name none")
    examples: list[str] = Field(description="sentences that the model translates well, to begin with; perhaps none")


def request_model(limits: ServeConfig, default_beam: int) -> type[BaseModel]:
    """Return the model of a request within the server's limits; its beam size is `default_beam` where it names none."""
    sentences_type = list_of_texts("sentences", limits.max_sentences, limits.max_characters, EXAMPLES)

    class TranslationRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        sentences: sentences_type  # type: ignore[valid-type]
        n_best: Integer = Field(1, ge=1, le=limits.max_beam, description="hypotheses of a sentence; at most beam_size")
        beam_size: Integer = Field(
            default_beam, ge=1, le=limits.max_beam, description="hypotheses that the search keeps; 1 is greedy"
        )
        attention: bool = Field(False, description="also return tokens, alignment and attention weights")

        @model_validator(mode="after")
        def _within_beam(self) -> Self:
            if self.n_best > self.beam_size:
                raise ValueError(f"n_best must be at most beam_size={self.beam_size}, got {self.n_best}")
            return self

    return TranslationRequest


def translation_offer(limits: ServeConfig, default_beam: int, about: Mapping[str, object]) -> Offer:
    """Return the offer of a translator.

    Args:
        limits: of requests.
        default_beam: beam size of requests that name none.
        about: `run`, `source_language`, `target_language` of `TranslationHealth`, and `examples` where there are any.
    """

    def asked(request: Any, tell: Tell | None) -> tuple[Kind, list[str]]:
        return Kind(request.beam_size, request.n_best, request.attention), request.sentences

    return Offer(
        title="Transformer translation server",
        path="/translate",
        description="Translate one sentence or many. Requests that wait are translated together.",
        field="sentences",
        request=request_model(limits, default_beam),
        answer=TranslationAnswer,
        health=TranslationHealth,
        about={"task": "translation", "examples": [], **about, "beam_size": default_beam},
        asked=asked,
        page="index.html",
    )
