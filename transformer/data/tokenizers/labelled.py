"""A tokenizer with the labels that a task predicts."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from transformer.data.tokenizers.exact import ExactTokenizer
from transformer.data.tokenizers.labels import Labels
from transformer.data.tokenizers.vocabularies import TextVocabulary


@dataclass(frozen=True)
class LabelledVocabulary:
    """What fine-tuning learns from its corpus, or takes the first part of from another run."""

    text: TextVocabulary
    labels: Labels

    @property
    def tokenizer(self) -> ExactTokenizer:
        """That of the text."""
        return self.text.tokenizer

    def fingerprint(self) -> str:
        """Return the SHA-256, in hexadecimal, of both."""
        return hashlib.sha256(f"{self.text.fingerprint()} {self.labels.fingerprint()}".encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write both into a folder; errors as of `TextVocabulary.save`."""
        self.text.save(folder)
        self.labels.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; a missing or damaged file is a UserError."""
        return cls(TextVocabulary.load(folder), Labels.load(folder))
