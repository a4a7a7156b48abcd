"""Requests for predictions, and answers, as pydantic checks them and as the OpenAPI document shows them."""

# Annotations stay objects here: those of the request hold limits that are known only when the server starts.

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from transformer.data.tokenizers.base import MASK_TOKEN
from transformer.inference.predictor import Predictor
from transformer.serving.config import ServeConfig
from transformer.serving.offer import Offer, Tell
from transformer.serving.schemas import Health, Integer, checked_text, list_of_texts
from transformer.system.errors import UserError
from transformer.tasks.masked_lm import CANDIDATES, MaskedLM

CONTEXTS = 10  # a context may be so many times as long as a text
EXAMPLES = ("What a film!", "I would not see it again.")
MASKED_EXAMPLES = ("The capital of [MASK] is Paris.", "A [MASK] runs through the [MASK].")
MOST_CANDIDATES = 100  # tokens for each mask that a request may ask for
MOST_TOGETHER = 10_000  # tokens for all its masks


class Prediction(BaseModel):
    """What is said of a text; which fields there are depends on the run's task."""

    model_config = ConfigDict(extra="allow")

    text: str | None = Field(None, description="the text (classification, tagging, masks)")
    texts: list[str] | None = Field(None, description="of a pair, both texts")
    labels: list[str] | None = Field(None, description="the likeliest label, or all that are likelier than not")
    probabilities: dict[str, float] | None = Field(None, description="of each label, the likeliest first")
    value: float | None = Field(None, description="where a number was asked for")
    words: list[dict[str, Any]] | None = Field(None, description="of tagging: each word with its tag and its place")
    entities: list[dict[str, Any]] | None = Field(None, description="text, kind, start, end and probability of each")
    masks: list[dict[str, Any]] | None = Field(
        None, description="of masks: start and end of each, and its candidates, the likeliest first"
    )
    question: str | None = Field(None, description="of question answering")
    answer: dict[str, Any] | None = Field(None, description="text, start and end in the context; null: none")
    score: float | None = Field(None, description="of the answer, in nats")
    probability: float | None = Field(None, description="of the answer")


class PredictionAnswer(BaseModel):
    predictions: list[Prediction] = Field(description="one for each text, in their order")


class PredictionHealth(Health):
    inputs: int = Field(description="texts that are read together: 2 of pairs, and of a question with its context")
    labels: list[str] = Field(description="that the run knows; none of answers and masks")


def request_model(limits: ServeConfig, predictor: Predictor) -> type[BaseModel]:
    """Return the model of a request within the server's limits."""
    longest = CONTEXTS * limits.max_characters
    examples = MASKED_EXAMPLES if isinstance(predictor.task, MaskedLM) else EXAMPLES
    texts_type = list_of_texts("texts", limits.max_sentences, limits.max_characters, examples)

    class PredictionRequest(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

        texts: texts_type  # type: ignore[valid-type]
        context: Annotated[str, AfterValidator(lambda text: checked_text(text, longest))] | None = Field(
            None,
            description="what all questions are about, or the second text of every pair, at most "
            f"{longest} characters; without it, a TAB divides the two texts of a pair",
            json_schema_extra={"maxLength": longest, "pattern": "^[^\\x00]*$"},
        )

        @model_validator(mode="after")
        def _with_all_texts(self) -> Self:
            inputs_of(self, predictor)
            return self

    if not isinstance(predictor.task, MaskedLM):
        return PredictionRequest
    most = min(MOST_CANDIDATES, predictor.task.tokenizer.vocabulary_size)

    class MaskRequest(PredictionRequest):
        top_k: Annotated[Integer, Field(ge=1, le=most)] = Field(CANDIDATES, description="tokens for each mask")

        @model_validator(mode="after")
        def _few_enough(self) -> Self:
            texts: Any = self.texts
            wanted = self.top_k * sum(text.count(MASK_TOKEN) for text in texts)
            if wanted > MOST_TOGETHER:
                raise ValueError(f"asks for {wanted:,} tokens at masks, at most {MOST_TOGETHER:,} are allowed")
            return self

    return MaskRequest


def inputs_of(request: Any, predictor: Predictor) -> Sequence[tuple[str, ...]]:
    """Return the inputs that a request asks about; a ValueError tells that there are texts too few or too many."""
    try:
        return [predictor.input_of(text, request.context, i) for i, text in enumerate(request.texts, start=1)]
    except UserError as error:
        raise ValueError(str(error)) from None


def prediction_offer(limits: ServeConfig, predictor: Predictor, about: Mapping[str, object]) -> Offer:
    """Return the offer of a run that labels, tags, answers or fills masks.

    Args:
        limits: of requests.
        predictor: of the run.
        about: `run` of `PredictionHealth`.
    """

    def asked(request: Any, tell: Tell | None) -> tuple[int | None, Sequence[tuple[str, ...]]]:
        return getattr(request, "top_k", None), inputs_of(request, predictor)

    own = {"task": predictor.task.name, "inputs": predictor.inputs, "labels": list(predictor.labels)}
    return Offer(
        title="Prediction server",
        path="/predict",
        description="Predict one text or many. Requests that wait are read together.",
        field="texts",
        request=request_model(limits, predictor),
        answer=PredictionAnswer,
        health=PredictionHealth,
        about={**about, **own},
        asked=asked,
        page="predict.html",
    )
