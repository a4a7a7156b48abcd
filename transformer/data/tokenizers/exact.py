"""Tokenizers of language models: a text and its ids are the same thing, spaces and line ends included."""

import abc
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.data.tokenizers.base import MASK_TOKEN, RESERVED_TOKENS
from transformer.ids import END_ID, MASK_ID, UNKNOWN_ID
from transformer.system.errors import panics_as_errors
from transformer.system.files import parse_json

FIRST_ID = len(RESERVED_TOKENS)  # the first that stands for text


class ExactTokenizer(abc.ABC):
    """Text to ids and back, as it is: `decode` of `encode` is the text, but for what the vocabulary does not know.

    Special ids are the package's. `encode` adds none of them, whatever the text says, and `decode` drops them.

    Args:
        asset: what the vocabulary is restored from.

    Raises:
        ValueError: it is not what this class writes.
    """

    kind: str  # the name in `TextConfig.tokenizer`
    suffix: str  # of the asset's file name
    vocabulary_size: int  # number of ids, special ids included
    unused_ids: tuple[int, ...] = ()  # that stand for nothing, not even for what is special
    masks = False  # whether MASK_ID is that of a mask
    spaced = False  # whether the space before a word is part of its first token

    def __init__(self, asset: bytes) -> None:
        self.asset = asset

    @abc.abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the ids of each text, (T,) int32 each."""

    @abc.abstractmethod
    def _decode(self, ids: list[int]) -> str:
        """Join ids that stand for text; bytes that are no UTF-8 become U+FFFD."""

    def continuations(self) -> np.ndarray | None:
        """Return which ids go on with a word that another began, (V,) bool; None where ids do not tell."""
        return None

    def encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the ids of each text, (T,) int32, and which characters they stand for: (T, 2), from and up to.

        A text is read as if there were a space before it, where spaces are parts of tokens.
        """
        before = " " if self.spaced else ""
        found = self._encode_with_spans([before + text for text in texts])
        return [(ids, np.maximum(spans - len(before), 0)) for ids, spans in found]

    @abc.abstractmethod
    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return ids and spans of texts as they are."""

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Join ids (T,) to a text."""
        return self._decode([i for i in np.asarray(ids, np.int64).tolist() if i > END_ID])


def library_spans(model: Any, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ids (T,) and spans (T, 2) of texts, by a tokenizer of the `tokenizers` library."""
    with panics_as_errors():
        found = model.encode_batch(list(texts), add_special_tokens=False)
    return [(np.array(one.ids, np.int32), np.array(one.offsets, np.int64).reshape(-1, 2)) for one in found]


def _spans_of_bytes(text: str, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which characters hold the bytes from `starts` up to `ends`, at least one each: (T, 2)."""
    edges = np.cumsum([0, *(len(character.encode()) for character in text)])  # of the characters
    first = np.searchsorted(edges, starts, "right") - 1
    return np.stack([first, np.maximum(np.searchsorted(edges, ends, "left"), first + 1)], axis=1)


class Bytes(ExactTokenizer):
    """Each byte of UTF-8 is a token: byte b has the id 4 + b, and nothing is unknown."""

    kind, suffix = "bytes", ".bytes"
    vocabulary_size = FIRST_ID + 256

    def __init__(self, asset: bytes = b"") -> None:
        super().__init__(asset)
        if asset:
            raise ValueError(f"asset must be empty, got {len(asset)} bytes")

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + FIRST_ID for text in texts]

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        every = zip(texts, self.encode(texts), strict=True)
        places = ((text, ids, np.arange(len(ids))) for text, ids in every)
        return [(ids, _spans_of_bytes(text, place, place + 1)) for text, ids, place in places]

    def _decode(self, ids: list[int]) -> str:
        return bytes(i - FIRST_ID for i in ids).decode(errors="replace")


class Characters(ExactTokenizer):
    """Each character that training met is a token; any other is the unknown id.

    Args:
        asset: a JSON list of the characters, by their code points.
    """

    kind, suffix = "characters", ".json"

    def __init__(self, asset: bytes) -> None:
        super().__init__(asset)
        characters = parse_json(asset)
        if not (isinstance(characters, list) and characters and all(isinstance(c, str) for c in characters)):
            raise ValueError("asset must be a list of characters")
        if any(len(c) != 1 for c in characters) or sorted(set(characters)) != characters:
            raise ValueError("asset must be a list of single characters in the order of their code points")
        self.characters = "".join(characters)
        self._points = _code_points(self.characters)  # (V - 4,), ascending
        self.vocabulary_size = FIRST_ID + len(characters)

    @classmethod
    def of(cls, characters: Sequence[str]) -> "Characters":
        """Return the tokenizer of some characters."""
        return cls(json.dumps(sorted(characters), ensure_ascii=False).encode())

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        found = []
        for text in texts:
            points = _code_points(text)
            places = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
            found.append(np.where(self._points[places] == points, places + FIRST_ID, UNKNOWN_ID).astype(np.int32))
        return found

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(ids, np.arange(len(ids))[:, np.newaxis] + [0, 1]) for ids in self.encode(texts)]

    def _decode(self, ids: list[int]) -> str:
        return "".join(self.characters[i - FIRST_ID] for i in ids)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


class Pieces(ExactTokenizer):
    """SentencePiece's subwords; a character that it lacks is written as its bytes.

    Args:
        asset: a serialised model, see `SentencePieceTokenizer`, that puts no space before a text.

    Source: Kudo and Richardson 2018.
    """

    kind, suffix = "sentencepiece", ".model"
    spaced = True

    def __init__(self, asset: bytes) -> None:
        import sentencepiece

        from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer

        super().__init__(asset)
        self.vocabulary_size = SentencePieceTokenizer(asset).vocabulary_size
        self._model = sentencepiece.SentencePieceProcessor(model_proto=asset)
        self.masks = self._model.is_control(MASK_ID) and self._model.id_to_piece(MASK_ID) == MASK_TOKEN

    @classmethod
    def without_space(cls, asset: bytes) -> "Pieces":
        """Return the tokenizer of a model that puts a space before a text: a text with one has the ids that it had."""
        from sentencepiece import sentencepiece_model_pb2

        proto = sentencepiece_model_pb2.ModelProto.FromString(asset)
        proto.normalizer_spec.add_dummy_prefix = False
        return cls(proto.SerializeToString(deterministic=True))

    def continuations(self) -> np.ndarray | None:
        pieces = [self._model.id_to_piece(i) for i in range(self.vocabulary_size)]
        return np.array([i > END_ID and not piece.startswith("▁") for i, piece in enumerate(pieces)])

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(ids, np.int32) for ids in self._model.encode(list(texts), out_type=int, num_threads=1)]

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for text in texts:
            pieces = self._model.encode(text, return_type="proto").pieces
            columns = np.array([(p.id, p.begin, p.end) for p in pieces], np.int64).reshape(-1, 3)
            found.append((columns[:, 0].astype(np.int32), _spans_of_bytes(text, columns[:, 1], columns[:, 2])))
        return found

    def _decode(self, ids: list[int]) -> str:
        return str(self._model.decode(ids))


class BytePairs(ExactTokenizer):
    """Byte-level byte-pair encoding: any text is bytes, and pairs of them that are frequent are tokens.

    Args:
        asset: the JSON of the `tokenizers` library, with `RESERVED_TOKENS` at their ids.

    Source: Sennrich et al. 2016; Radford et al. 2019, section 2.2.
    """

    kind, suffix = "bytepair", ".json"
    spaced = True

    def __init__(self, asset: bytes) -> None:
        import tokenizers

        super().__init__(asset)
        parse_json(asset)
        try:
            with panics_as_errors():
                self._model = tokenizers.Tokenizer.from_str(asset.decode())
                vocabulary = self._model.get_vocab(with_added_tokens=True)
                self._model.no_truncation()
                self._model.no_padding()
        except Exception as error:  # whatever the library raises of a forged file
            raise ValueError(f"asset must be JSON of the tokenizers library, got {error}") from None
        if sorted(vocabulary.values()) != list(range(len(vocabulary))):
            raise ValueError("asset must number its tokens from 0 without a gap")
        if [vocabulary.get(token) for token in RESERVED_TOKENS] != list(range(FIRST_ID)):
            raise ValueError(f"asset must hold {RESERVED_TOKENS} as its first tokens")
        self.vocabulary_size = len(vocabulary)
        self.masks = vocabulary.get(MASK_TOKEN) == MASK_ID

    def continuations(self) -> np.ndarray | None:
        tokens = [str(self._model.id_to_token(i)) for i in range(self.vocabulary_size)]
        return np.array([i > END_ID and not token.startswith("Ġ") for i, token in enumerate(tokens)])

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        with panics_as_errors():
            found = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(encoding.ids, np.int32) for encoding in found]

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return library_spans(self._model, texts)

    def _decode(self, ids: list[int]) -> str:
        return str(self._model.decode(ids, skip_special_tokens=False))


KINDS: dict[str, type[ExactTokenizer]] = {kind.kind: kind for kind in (Pieces, BytePairs, Characters, Bytes)}
