"""From texts to what a model reads."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from transformer.config.settings import CleaningConfig
from transformer.data.cleaning import META_SPACE, cleaned
from transformer.data.tokenizers.base import Tokenizer
from transformer.ids import END_ID, START_ID
from transformer.inference.sentence_splitting import most_characters, sentences_of, split_text


class Part(NamedTuple):
    """A sentence, or a part of one, that the model can read."""

    text: str  # cleaned as the training text was
    row: list[int]  # its ids, with start and end tokens
    start: Sequence[int] = ()  # ids that its translation has to begin with
    shown: bool = False  # whether attention is wanted
    broken: bool = False  # whether it is a piece of a sentence that is longer than the model reads


@dataclasses.dataclass(frozen=True)
class Reader:
    """Cuts texts into parts that a model reads.

    Args:
        tokenizer: of the source.
        max_positions: longest sequence of the model, in tokens.
        cut: whether a text is cut into its 'sentences', or only where it is too 'long'.
        language: code of the texts, by whose rules texts are split into sentences; empty: English.
        cleaning: what was changed in the training text and is changed in each text here; None: nothing.
    """

    tokenizer: Tokenizer
    max_positions: int
    cut: str
    language: str
    cleaning: CleaningConfig | None = None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the source ids of texts, with start and end tokens."""
        return self._encode(self._cleaned(texts))

    def _cleaned(self, texts: Sequence[str]) -> Sequence[str]:
        return [cleaned(text, self.cleaning) for text in texts] if self.cleaning else texts

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[START_ID, *row, END_ID] for row in self.tokenizer.encode(texts)]

    def parts(self, texts: Sequence[str], with_attention: bool = False) -> list[list[Part]]:
        """Return what each text is cut into; of one that is longer than the model reads no attention is wanted."""
        most = most_characters(self.max_positions - 2)
        texts = self._cleaned(texts)
        pieces = [(self.cut == "sentences" and sentences_of(text, self.language)) or [text] for text in texts]
        rows = iter(self._encode([piece[: most + 1] for sentences in pieces for piece in sentences]))
        found = []
        for sentences in pieces:
            parts = [part for piece in sentences for part in self._short(piece, next(rows)) if len(part.row) > 2]
            shown = with_attention and self.fits(parts)
            found.append([part._replace(shown=shown) for part in parts or [Part("", [START_ID, END_ID])]])
        return found

    def fits(self, parts: Sequence[Part]) -> bool:
        """Return whether the model could read the parts of a text as one."""
        length = sum(len(part.row) - 2 for part in parts)
        return len(parts) == 1 or (length <= self.max_positions - 2 and not any(part.broken for part in parts))

    def fit(self, row: list[int]) -> list[int]:
        """Cut source ids to what the model reads; the end token stays."""
        return row if len(row) <= self.max_positions else [*row[: self.max_positions - 1], END_ID]

    def _short(self, text: str, row: list[int]) -> list[Part]:
        """Return the parts of a text that the model can read; `row` holds its ids, or the first of a long text."""
        limit = self.max_positions - 2
        if len(text) <= most_characters(limit) and len(row) <= self.max_positions:
            return [Part(text, row)]
        texts = split_text(text.replace(META_SPACE, " "), self.language, self._count, limit)
        rows = map(self.fit, self._encode(texts))
        return [Part(text, row, broken=True) for text, row in zip(texts, rows, strict=True)]

    def _count(self, texts: Sequence[str]) -> list[int]:
        return [len(row) for row in self.tokenizer.encode(texts)]
