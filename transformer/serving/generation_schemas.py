"""Requests to a language model, and answers, as pydantic checks them and as the OpenAPI document shows them."""

# Annotations stay objects here: those of the request hold limits that are known only when the server starts.

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from transformer.config.settings import SMALLEST_TOP_P, SearchConfig
from transformer.serving.config import ServeConfig
from transformer.serving.offer import Offer, Tell
from transformer.serving.schemas import Health, Integer, Real, list_of_texts

EXAMPLES = ("The cat sat on the", "Once upon a time")
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed")  # settings that need a temperature
SETTINGS = (*SAMPLING, "repetition_penalty", "no_repeat_ngram")  # of `SearchConfig` that a request may give
MOST_STOPS, LONGEST_STOP = 8, 100  # stop strings of a request, and characters of each
LONGEST_NGRAM = 16


class Kind(NamedTuple):
    """Settings that requests must share to be answered together."""

    search: SearchConfig
    samples: int
    stop: tuple[str, ...]


@dataclasses.dataclass(eq=False)
class Prompt:
    """A prompt of a request.

    Attributes:
        text: the prompt.
        tell: called with the number of a sample and the next piece of its text; None: nobody wants pieces.
        wanted: whether the client is still there.
    """

    text: str
    tell: Any = None
    wanted: bool = True


class Sample(BaseModel):
    text: str = Field(description="what follows the prompt, without the stop string")
    log_probability: float = Field(description="summed over tokens, in nats")
    reason: str = Field(description="why it ends: 'end' of the document, 'stop' string, 'length', or full 'context'")
    tokens: list[str] = Field(description="without the end token")
    token_log_probabilities: list[float] = Field(description="in nats, the end token included")


class Text(BaseModel):
    prompt: str
    samples: list[Sample]
    warnings: list[str] = Field(description="what a reader should know of the prompt")


class GenerationAnswer(BaseModel):
    texts: list[Text] = Field(description="one for each prompt, in their order")


class GenerationHealth(Health):
    context: int = Field(description="tokens that the model reads at once")
    defaults: dict[str, float] = Field(description="settings of requests that name none")


def request_model(limits: ServeConfig, default: SearchConfig) -> type[BaseModel]:
    """Return the model of a request within the server's limits, with a run's own search as the default."""
    prompts_type = list_of_texts("prompts", limits.max_sentences, limits.max_characters, EXAMPLES)
    stop_type = list_of_texts("strings", MOST_STOPS, LONGEST_STOP, ("\n",), least=0)

    class GenerationRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        prompts: prompts_type  # type: ignore[valid-type]
        max_tokens: Integer = Field(
            min(default.max_length or limits.max_tokens, limits.max_tokens),
            ge=1,
            le=limits.max_tokens,
            description="most tokens of a text",
        )
        samples: Integer = Field(
            1, ge=1, le=limits.max_beam, description="texts of a prompt; several need a temperature or a beam"
        )
        beam_size: Integer = Field(
            default.beam_size, ge=1, le=limits.max_beam, description="hypotheses that the search keeps; 1 is greedy"
        )
        temperature: Real = Field(
            default.temperature, ge=0, le=10, description="above 0: sample tokens at it; 0: take the likeliest"
        )
        top_k: Integer = Field(
            default.top_k, ge=0, lt=2**31, description="sample from so many likeliest tokens; 0: from all"
        )
        top_p: Real = Field(
            default.top_p,
            ge=SMALLEST_TOP_P,
            le=1,
            description="sample from the likeliest tokens with this probability together",
        )
        min_p: Real = Field(
            default.min_p, ge=0, le=1, description="sample from tokens at least this share as likely as the likeliest"
        )
        typical_p: Real = Field(
            default.typical_p,
            ge=SMALLEST_TOP_P,
            le=1,
            description="sample from the most typical tokens with this probability together",
        )
        repetition_penalty: Real = Field(
            default.repetition_penalty, ge=0.1, le=10, description="above 1: tokens that were there are less likely"
        )
        no_repeat_ngram: Integer = Field(
            default.no_repeat_ngram, ge=0, le=LONGEST_NGRAM, description="no n-gram of so many tokens twice; 0: any"
        )
        seed: Integer = Field(default.seed, ge=0, lt=2**31, description="of sampling")
        stop: stop_type = Field([], description="end before the first of these strings")  # type: ignore[valid-type]
        stream: bool = Field(
            False,
            description="answer with lines of JSON as the texts come: pieces {prompt, sample, text}, then what an "
            "answer without it holds",
        )

        @model_validator(mode="after")
        def _within_limits(self) -> Self:
            if not all(self.stop):
                raise ValueError("stop must not hold an empty string; leave it out to stop nowhere")
            if not self.temperature and self.samples > self.beam_size:
                raise ValueError(
                    f"samples must be at most beam_size={self.beam_size} without a temperature, got {self.samples}"
                )
            if (texts := self.samples * len(self.prompts)) > limits.max_sentences:
                raise ValueError(f"asks for {texts} texts, at most {limits.max_sentences} are allowed")
            search_of(self, default)
            return self

    return GenerationRequest


def search_of(request: Any, default: SearchConfig) -> SearchConfig:
    """Return the search that a request asks for; a ValueError names what is out of range."""
    given = {name: getattr(request, name) for name in SETTINGS}
    if not request.temperature:  # nothing is sampled, so that requests with any of these are answered together
        given |= {name: getattr(default, name) for name in SAMPLING if name != "temperature"}
    beam_size = 1 if request.temperature else request.beam_size
    return dataclasses.replace(default, beam_size=beam_size, min_length=0, max_length=request.max_tokens, **given)


def generation_offer(limits: ServeConfig, default: SearchConfig, about: Mapping[str, object]) -> Offer:
    """Return the offer of a language model.

    Args:
        limits: of requests.
        default: the run's search.
        about: `run` and `context` of `GenerationHealth`.
    """
    request_type = request_model(limits, default)

    def asked(request: Any, tell: Tell | None) -> tuple[Kind, list[Prompt]]:
        def teller(number: int) -> Any:
            if tell is None:
                return None
            return lambda sample, piece: tell({"prompt": number, "sample": sample, "text": piece})

        kind = Kind(search_of(request, default), request.samples, tuple(request.stop))
        return kind, [Prompt(text, teller(number)) for number, text in enumerate(request.prompts)]

    return Offer(
        title="Language model server",
        path="/generate",
        description="Continue one prompt or many. Requests with the same settings that wait are answered together.",
        field="prompts",
        request=request_type,
        answer=GenerationAnswer,
        health=GenerationHealth,
        about={"task": "language-model", **about, "defaults": _defaults(request_type)},
        asked=asked,
        page="generate.html",
    )


def _defaults(request_type: type[BaseModel]) -> dict[str, float]:
    fields = request_type.model_fields
    return {name: fields[name].default for name in ("max_tokens", "samples", "beam_size", *SETTINGS)}
