"""Continuing the prompts of requests that were put together, and writing the answers' JSON."""

import dataclasses
import json
import math
from collections.abc import Sequence
from time import monotonic

from transformer.inference.generated_text import described
from transformer.inference.generator import Generator
from transformer.serving.batcher import TimedOut
from transformer.serving.config import ServeConfig
from transformer.serving.generation_schemas import Kind, Prompt
from transformer.system.errors import UserError


class GenerationService:
    """Generates with one model and whatever settings are asked for; the generator's own are the default.

    Raises:
        UserError: the generator's own beam is larger than the limit.
    """

    def __init__(self, generator: Generator, limits: ServeConfig) -> None:
        if generator.search.beam_size > limits.max_beam:
            raise UserError(
                f"the search has a beam_size of {generator.search.beam_size}, above the limit of {limits.max_beam}; "
                "raise --max-beam or give a smaller --beam-size"
            )
        self.generator = generator

    def warm_up(self) -> None:
        """Make the graphs of a text that is chosen greedily and of one that is sampled."""
        for temperature in (0.0, 1.0):
            search = dataclasses.replace(self.generator.search, temperature=temperature, max_length=2)
            for tell in (None, lambda sample, piece: None):
                self.answer(Kind(search, 1, ()), [[Prompt("a", tell)]])

    def answer(self, kind: Kind, requests: Sequence[Sequence[Prompt]], deadline: float = math.inf) -> list[bytes]:
        """Return the answer of each request, a list of prompts, as JSON in UTF-8.

        Raises:
            TimedOut: the deadline on the monotonic clock passed, or nobody waits for any of the texts any more.
        """
        prompts = [prompt for request in requests for prompt in request]

        def progress() -> None:
            if monotonic() > deadline or not any(prompt.wanted for prompt in prompts):
                raise TimedOut

        def stream(number: int, sample: int, piece: str) -> None:
            if tell := prompts[number].tell:
                tell(sample, piece)

        generator = self.generator.with_search(**dataclasses.asdict(kind.search))
        streamed = any(prompt.tell for prompt in prompts)
        texts = [prompt.text for prompt in prompts]
        found = iter(generator.generate(texts, kind.samples, kind.stop, stream if streamed else None, progress))
        return [
            json.dumps(
                {"texts": [described(prompt.text, next(found), generator.warnings(prompt.text)) for prompt in request]},
                ensure_ascii=False,
                allow_nan=False,
            ).encode()
            for request in requests
        ]
