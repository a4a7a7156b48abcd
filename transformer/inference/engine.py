"""What computes translations: one interface, and the choice between those that implement it.

`tensorflow_engine.py` is the reference and does everything. `ctranslate2_engine.py` is fast, also to begin with, for
with it nothing imports TensorFlow.

Axes: B sentences, W hypotheses per sentence, T output tokens, S source tokens, H heads.
"""

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from transformer.config.settings import AUTO, CTRANSLATE2, ENGINES, TENSORFLOW, SearchConfig
from transformer.search.hypotheses import Hypotheses
from transformer.system.errors import UserError

Rows = Sequence[Sequence[int]]


class Engine(abc.ABC):
    """Searches for the translations of rows of ids with a model's weights.

    Attributes:
        cached: numbers that the models keep of each token that they write, see `ModelConfig.cached`.
    """

    name: ClassVar[str]  # of `ENGINES`
    cached: int

    @abc.abstractmethod
    def search(
        self,
        rows: Rows,
        starts: Rows,
        limits: np.ndarray,
        least: np.ndarray,
        search: SearchConfig,
        n_best: int = 1,
        scored: bool = True,
    ) -> Hypotheses:
        """Return the best hypotheses of each row, as arrays.

        Args:
            rows: source ids of each sentence, with start and end tokens.
            starts: ids that each translation has to begin with; they may be empty.
            limits: (B,) int32, most output tokens, the end token included; at least 1.
            least: (B,) int32, fewest output tokens without the end token.
            search: how to search.
            n_best: hypotheses of a sentence, at most the beam size.
            scored: whether scores have to be those of the whole vocabulary, and the log-probabilities of tokens are
                wanted. Where not, an engine may give those of the tokens that are allowed, and (B, W, 0).
        """

    @abc.abstractmethod
    def attention(self, rows: Rows, found: Hypotheses) -> np.ndarray:
        """Return the attention over the source that the hypotheses' tokens have, (layers, B, W, H, T, S).

        An engine that knows only the mean over the heads of the last layer returns that: one layer, one head.
        """

    @abc.abstractmethod
    def warm_up(self, search: SearchConfig) -> None:
        """Do what the first search with these settings would have to wait for."""

    def traces(self, search: SearchConfig) -> int:
        """Return the number of graphs made so far for searching so."""
        return 0


class Unavailable(UserError):
    """An engine that cannot be used here, whatever is asked for."""


class Engines:
    """The engines of one translator, each opened when it is first needed.

    Args:
        reference: opens the engine that does everything; None: there is none, as of an export.
        fast: opens the other one; None: there is none.
        refused: returns why the fast engine cannot do what is asked for, given the search and whether the attention of
            every head is wanted; empty: it can.
        wanted: one of `ENGINES`.
        without_fast: why there is no fast engine.

    Raises:
        ValueError: `wanted` is another.
    """

    def __init__(
        self,
        reference: Callable[[], Engine] | None,
        fast: Callable[[], Engine] | None = None,
        refused: Callable[[SearchConfig, bool], str] = lambda search, with_heads: "",
        wanted: str = AUTO,
        without_fast: str = "there is no model for CTranslate2",
    ) -> None:
        if wanted not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {wanted!r}")
        self._reference = functools.cache(reference) if reference else None
        self._fast = functools.cache(fast) if fast else None
        self._refused, self._wanted, self._without = refused, wanted, "" if fast else without_fast

    def choose(self, search: SearchConfig, with_heads: bool = False) -> Engine:
        """Return the engine for a search, opened; `with_heads`: the attention of every head is wanted.

        Raises:
            UserError: the one that is wanted, or the only one, cannot do it; or what opening it raises.
        """
        if self._fast and not self.reason(search, with_heads):
            try:
                return self._fast()
            except Unavailable as error:
                self._without = str(error)
        if self._reference and self._wanted != CTRANSLATE2:
            return self._reference()
        way_out = "translate with --engine tensorflow" if self._reference else "take the run itself"
        raise UserError(f"{self.reason(search, with_heads)}; {way_out}")

    def reason(self, search: SearchConfig, with_heads: bool = False) -> str:
        """Return why a search is not for the fast engine; empty: it is."""
        if self._wanted == TENSORFLOW:
            return "it is asked for"
        return self._without or self._refused(search, with_heads)

    def reference(self) -> Any:
        """Return the engine that does everything, opened; a UserError where there is none."""
        if not self._reference:
            raise UserError("an export for CTranslate2 holds no Keras model; load the run itself")
        return self._reference()
