"""Requests and answers, as pydantic checks them and as the OpenAPI document shows them."""

# Annotations stay objects here: those of the request hold limits that are known only when the server starts.

from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from transformer.serving.config import ServeConfig


class Kind(NamedTuple):
    """Settings that requests must share to be translated together."""

    beam_size: int
    n_best: int
    attention: bool


def _whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


Integer = Annotated[int, BeforeValidator(_whole)]  # 2.0 is an integer in JSON, but not to pydantic when it is strict


def request_model(limits: ServeConfig, default_beam: int) -> type[BaseModel]:
    """Return the model of a request within the server's limits; its beam size is `default_beam` where it names none."""
    most = limits.max_characters
    one = {"type": "string", "maxLength": most, "pattern": "^[^\\x00]*$"}
    schema = {
        "anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": limits.max_sentences}],
        "description": f"one sentence, or a list of at most {limits.max_sentences}; each of at most {most} characters, "
        "without NUL",
        "examples": [["A dog runs.", "Two people are talking."]],
    }

    def checked(sentence: str) -> str:
        if len(sentence) > most:
            raise ValueError(f"has {len(sentence):,} characters, at most {most:,} are allowed")
        if "\0" in sentence:
            raise ValueError("must not hold the character NUL")
        if not sentence.isascii() and any("\ud800" <= sign <= "\udfff" for sign in sentence):
            raise ValueError("must not hold a lone surrogate, which is no character")
        return sentence

    def as_list(sentences: object) -> object:
        if isinstance(sentences, str):
            return [sentences]
        if isinstance(sentences, list) and len(sentences) > limits.max_sentences:  # before each of them is checked
            raise ValueError(f"has {len(sentences):,} sentences, at most {limits.max_sentences:,} are allowed")
        return sentences

    class TranslationRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        sentences: Annotated[
            list[Annotated[str, AfterValidator(checked)]],
            Field(min_length=1, json_schema_extra=schema),
            BeforeValidator(as_list, json_schema_input_type=str | list[str]),
        ]
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


class Hypothesis(BaseModel):
    text: str
    score: float = Field(description="penalised log-probability, by which hypotheses are ordered")
    log_probability: float = Field(description="summed over tokens, in nats")
    finished: bool = Field(description="false where the longest length cut the translation off")
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


class Health(BaseModel):
    status: str = Field(description="'ok', or 'stopping'")
    run: list[str] = Field(description="names of the run directories")
    source_language: str
    target_language: str
    beam_size: int = Field(description="of requests that name none")
    waiting: int = Field(description="sentences that wait to be translated")
    limits: dict[str, float] = Field(description="of requests; see the server's --help")


class Problem(BaseModel):
    error: str = Field(description="what is wrong and what would be right")
