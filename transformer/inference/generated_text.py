"""What a generator returns for a prompt, and its text while it grows."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from transformer.ids import END_ID, PAD_ID

REPLACEMENT = "\ufffd"  # stands for bytes that are no UTF-8, or not yet
END, STOP, LENGTH, CONTEXT = "end", "stop", "length", "context"


@dataclasses.dataclass(frozen=True, repr=False)
class Generation:
    """How one text goes on after its prompt."""

    text: str  #: without the prompt, and without the stop string
    log_probability: float  #: summed over tokens, in nats
    tokens: tuple[str, ...]  #: without the end token; a part of a character is shown as U+FFFD
    token_log_probabilities: tuple[float, ...]  #: of each token, the end token included, in nats
    ids: tuple[int, ...]  #: of the tokens, the end token included
    reason: str  #: why it ends: 'end' of the document, 'stop' string, 'length', or, of a beam, the full 'context'

    def __repr__(self) -> str:
        """Return text and reason, for people; there is more to it."""
        return f"Generation({self.text!r}, reason={self.reason!r})"


@dataclasses.dataclass
class GrowingText:
    """A text that a generator continues.

    Attributes:
        prompt, sample: its number among the prompts, and among the samples of this one.
        ids: tokens that the model reads, the prompt first.
        decode: from ids to a text.
        limit: most tokens that follow the prompt, the end token included.
        stops: strings that end the text.
        tell: called with each piece of text as soon as it is certain; never with a part of a character.
    """

    prompt: int
    sample: int
    ids: list[int]
    decode: Callable[[Sequence[int]], str]
    limit: int
    stops: Sequence[str] = ()
    tell: Callable[[str], Any] | None = None

    def __post_init__(self) -> None:
        self.begun = len(self.ids)  # tokens of the prompt
        self.reason = ""  # why the text ended; empty: it goes on
        self.text, self._told = "", 0
        self.log_probabilities: list[float] = []

    @property
    def new(self) -> int:
        """Number of tokens behind the prompt."""
        return len(self.ids) - self.begun

    def add(self, ids: np.ndarray, log_probabilities: np.ndarray) -> None:
        """Add tokens, up to the end token, the limit, or a stop string."""
        known = self.new
        for token, log_probability in zip(ids.tolist(), log_probabilities.tolist(), strict=True):
            if self.reason or token == PAD_ID:
                break
            self.ids.append(token)
            self.log_probabilities.append(log_probability)
            self.reason = END if token == END_ID else LENGTH if self.new == self.limit else ""
        self.text = self._decoded(self.new)
        if any(stop in self.text for stop in self.stops):
            self._stop(known)
        self._tell()

    def _decoded(self, count: int) -> str:
        return self.decode(self.ids[self.begun : self.begun + count])

    def _stop(self, known: int) -> None:
        """Leave out the first stop string, what follows it, and the tokens that are not needed to write it."""
        count = next(n for n in range(known + 1, self.new + 1) if any(stop in self._decoded(n) for stop in self.stops))
        self.text = self._decoded(count)
        self.text = self.text[: min(self.text.find(stop) for stop in self.stops if stop in self.text)]
        del self.ids[self.begun + count :], self.log_probabilities[count:]
        self.reason = STOP

    def _tell(self) -> None:
        """Tell what is new and will not change."""
        certain = len(self.text)
        if not self.reason:
            certain = len(self.text.rstrip(REPLACEMENT))
            certain = min([certain, *(_begins(self.text[:certain], stop) for stop in self.stops)])
        if self.tell and certain > self._told:
            self.tell(self.text[self._told : certain])
            self._told = certain

    def finish(self) -> Generation:
        """Return the result."""
        self.reason = self.reason or CONTEXT
        self._tell()
        ids = self.ids[self.begun :]
        words = tuple(self.decode([token]) for token in ids if token != END_ID)
        return Generation(
            self.text,
            sum(self.log_probabilities),
            words,
            tuple(self.log_probabilities),
            tuple(ids),
            self.reason,
        )


def _begins(text: str, stop: str) -> int:
    """Return where the longest end of a text begins that a stop string may begin with; its length: nowhere."""
    return next(
        (place for place in range(max(0, len(text) - len(stop) + 1), len(text)) if stop.startswith(text[place:])),
        len(text),
    )


def described(prompt: str, generations: Sequence[Generation], warnings: Sequence[str]) -> dict[str, Any]:
    """Return a prompt and its texts as JSON shows them; numbers are rounded."""
    return {
        "prompt": prompt,
        "samples": [
            {
                "text": each.text,
                "log_probability": round(each.log_probability, 6),
                "reason": each.reason,
                "tokens": each.tokens,
                "token_log_probabilities": [round(p, 6) for p in each.token_log_probabilities],
            }
            for each in generations
        ],
        "warnings": warnings,
    }
