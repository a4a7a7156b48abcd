"""The vocabularies of a run, on disk and in memory."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from transformer.data.tokenizers import exact
from transformer.data.tokenizers.base import Tokenizer
from transformer.data.tokenizers.imported import Imported
from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer
from transformer.data.tokenizers.wordpiece import WordPieceTokenizer
from transformer.data.tokenizers.wordpieces import WordPieces
from transformer.system.errors import UserError
from transformer.system.files import MOST_JSON, parse_json, path_inside, read_inside, write_atomically

DESCRIPTION = "tokenizer.json"
T = TypeVar("T")
Kind = type[SentencePieceTokenizer | WordPieceTokenizer]
KINDS: dict[str, Kind] = {kind.kind: kind for kind in (SentencePieceTokenizer, WordPieceTokenizer)}
TEXT_KINDS: dict[str, type[exact.ExactTokenizer]] = {
    **exact.KINDS,
    WordPieces.kind: WordPieces,
    Imported.kind: Imported,
}
MOST_ASSET = 2**24  # bytes of a vocabulary: a million pieces and more
_RESTORE = "restore it or train the run again"


@dataclass(frozen=True)
class TokenizerPair:
    """The tokenizers of a translator's two sides; one object twice where the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer

    def __post_init__(self) -> None:
        if self.source.kind != self.target.kind:
            raise ValueError(f"target must be of the source's kind {self.source.kind!r}, got {self.target.kind!r}")

    @property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source is self.target

    def fingerprint(self) -> str:
        """Return the SHA-256, in hexadecimal, of kind, jointness and assets."""
        return hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write the assets and `tokenizer.json` (kind, joint, SHA-256 of each asset) into `folder`.

        Raises:
            UserError: a file of such a name is a link out of the folder, a device or a pipe.
            OSError: the folder cannot be made.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for side, tokenizer in self._sides().items():
            write_atomically(path_inside(folder, side + tokenizer.suffix), tokenizer.asset)
        write_atomically(path_inside(folder, DESCRIPTION), (json.dumps(self._description(), indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; a missing or damaged file is a UserError. No file name is read from a file."""
        folder = Path(folder)
        description = _read_description(folder / DESCRIPTION)
        kind, digests = KINDS[description["kind"]], description["sha256"]
        sides = ("joint",) if description["joint"] else ("source", "target")
        loaded = [_read_tokenizer(kind, folder / (side + kind.suffix), digests.get(side)) for side in sides]
        return cls(loaded[0], loaded[-1])

    def _sides(self) -> dict[str, Tokenizer]:
        return {"joint": self.source} if self.joint else {"source": self.source, "target": self.target}

    def _description(self) -> dict[str, object]:
        hashes = {side: hashlib.sha256(tokenizer.asset).hexdigest() for side, tokenizer in self._sides().items()}
        return {"kind": self.source.kind, "joint": self.joint, "sha256": hashes}


@dataclass(frozen=True)
class TextVocabulary:
    """The tokenizer of a language model or an encoder."""

    tokenizer: exact.ExactTokenizer

    def fingerprint(self) -> str:
        """Return the SHA-256, in hexadecimal, of kind and asset."""
        return hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write the asset and `tokenizer.json` (kind, SHA-256 of the asset); errors as of `TokenizerPair.save`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path_inside(folder, "text" + self.tokenizer.suffix), self.tokenizer.asset)
        write_atomically(path_inside(folder, DESCRIPTION), (json.dumps(self._description(), indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; a missing or damaged file is a UserError. No file name is read from a file."""
        folder = Path(folder)
        description = _read_json(folder / DESCRIPTION)
        match description:
            case {"kind": str(kind), "sha256": str(digest)} if kind in TEXT_KINDS:
                known = TEXT_KINDS[kind]
                return cls(_read_tokenizer(known, folder / ("text" + known.suffix), digest))
        raise UserError(f"tokenizer file {folder / DESCRIPTION} describes no tokenizer of a language model; {_RESTORE}")

    @classmethod
    def of_translator(cls, folder: str | Path) -> Self | None:
        """Read the joint SentencePiece vocabulary of an encoder-decoder, with the same ids; None: it is of no pair.

        Raises:
            UserError: as `TokenizerPair.load`; or it is not joint, or not of SentencePiece.
        """
        match _read_json(Path(folder) / DESCRIPTION):
            case {"joint": _}:
                pair = TokenizerPair.load(folder)
            case _:
                return None
        if not (pair.joint and isinstance(pair.source, SentencePieceTokenizer)):
            raise UserError(f"{folder} holds no SentencePiece vocabulary of both languages together; take another run")
        return cls(exact.Pieces.without_space(pair.source.asset))

    def _description(self) -> dict[str, object]:
        return {"kind": self.tokenizer.kind, "sha256": hashlib.sha256(self.tokenizer.asset).hexdigest()}


def _read(path: Path, most: int = MOST_JSON) -> bytes:
    try:
        return read_inside(path.parent, path.name, most)
    except OSError as error:
        raise UserError(f"cannot read tokenizer file {path}: {error.strerror}; {_RESTORE}") from None


def _read_json(path: Path) -> Any:
    try:
        return parse_json(_read(path))
    except ValueError as error:
        raise UserError(f"tokenizer file {path} is not valid JSON ({error}); {_RESTORE}") from None


def _read_description(path: Path) -> dict[str, Any]:
    description = _read_json(path)
    match description:
        case {"kind": "sentencepiece" | "wordpiece", "joint": bool(), "sha256": dict()}:
            return description
    raise UserError(f"tokenizer file {path} does not describe a tokenizer; {_RESTORE}")


def _read_tokenizer(kind: Callable[[bytes], T], path: Path, digest: object) -> T:
    asset = _read(path, MOST_ASSET)
    if hashlib.sha256(asset).hexdigest() != digest:
        raise UserError(f"tokenizer file {path} is truncated or changed: its SHA-256 is not the saved one; {_RESTORE}")
    try:
        return kind(asset)
    except ValueError as error:
        raise UserError(f"tokenizer file {path} is damaged ({error}); {_RESTORE}") from None
