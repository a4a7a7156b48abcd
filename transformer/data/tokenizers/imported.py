"""The tokenizer of an imported model, under this package's ids."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transformer.data.tokenizers.exact import FIRST_ID, ExactTokenizer, library_spans
from transformer.ids import END_ID, MASK_ID
from transformer.system.errors import panics_as_errors
from transformer.system.files import parse_json

MOST_IDS = 2**20  # larger vocabularies are not known


def opened(tokenizer: Mapping[str, Any]) -> Any:
    """Return a tokenizer of the `tokenizers` library from its JSON, without truncation and padding.

    Raises:
        ValueError: it is no such JSON.
    """
    import tokenizers

    try:
        with panics_as_errors():
            found = tokenizers.Tokenizer.from_str(json.dumps(tokenizer, ensure_ascii=False))
            found.no_truncation()
            found.no_padding()
            found.encode("a", add_special_tokens=False)
    except Exception as error:  # whatever the library raises of a forged file
        raise ValueError(f"it is no JSON of the tokenizers library ({error})") from None
    return found


class Imported(ExactTokenizer):
    """A tokenizer of another program, as it is, with its ids renumbered: 0 to 3 are this package's, 4 may be.

    Each of these is one of its ids or, where it has none for that purpose, unused. All others follow in their order.
    A text is split as the other program splits it, so special tokens that a text spells, such as those of a chat, are
    recognised; whether `decode` gives back the text to the letter is up to that tokenizer.

    Args:
        asset: JSON of `reserved`: its ids for padding, unknown, start and end, null where there is none, and, where
            there is a fifth, for the mask of an encoder; `size`: number of its ids, with those that no token has;
            `tokenizer`: JSON of the `tokenizers` library; `settings`: what else came with it, such as a chat template,
            which is kept for the way back and never run.

    Attributes:
        theirs: (vocabulary_size,) int64, the other program's id of each of ours, -1 where that is unused.
        settings: from the asset.
    """

    kind, suffix = "huggingface", ".json"

    def __init__(self, asset: bytes) -> None:
        super().__init__(asset)
        match parse_json(asset):
            case {"reserved": list(reserved), "size": int(size), "tokenizer": dict(model), "settings": dict(settings)}:
                pass
            case _:
                raise ValueError("asset must hold reserved, size, tokenizer and settings")
        known = [i for i in reserved if i is not None]
        if not FIRST_ID <= size <= MOST_IDS or len(reserved) not in (FIRST_ID, MASK_ID + 1):
            raise ValueError("asset must have 4 or 5 reserved ids, and 4 to 2^20 ids in all")
        if None in reserved[END_ID:]:
            raise ValueError("asset must have an id for the end and, where there is a fifth, for the mask")
        if not all(type(i) is int and 0 <= i < size for i in known) or len(set(known)) != len(known):
            raise ValueError("asset's reserved ids must be different ids")
        self.tokenizer, self.settings, self._model = model, settings, opened(model)
        if max(self._model.get_vocab(with_added_tokens=True).values(), default=size) >= size:
            raise ValueError(f"asset's tokenizer must have ids below {size}")
        others = np.setdiff1d(np.arange(size), known)
        self.theirs = np.concatenate([[-1 if i is None else i for i in reserved], others])
        self.vocabulary_size, self.masks = len(self.theirs), len(reserved) > MASK_ID
        self.unused_ids = tuple(np.flatnonzero(self.theirs < 0).tolist())
        used = np.flatnonzero(self.theirs >= 0)
        self._ours = np.zeros(size, np.int32)
        self._ours[self.theirs[used]] = used

    @classmethod
    def from_parts(
        cls,
        reserved: Sequence[int | None],
        size: int,
        tokenizer: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> "Imported":
        """Return the tokenizer of an asset's parts; errors as of the class."""
        parts = {"reserved": list(reserved), "size": size, "tokenizer": tokenizer, "settings": settings}
        return cls(json.dumps(parts, ensure_ascii=False).encode())

    @property
    def reserved(self) -> list[int | None]:
        """The other program's ids for padding, unknown, start and end, and for the mask where there is one."""
        return [None if i < 0 else int(i) for i in self.theirs[: MASK_ID + 1 if self.masks else FIRST_ID]]

    @property
    def size(self) -> int:
        """Number of the other program's ids."""
        return len(self._ours)

    def continuations(self) -> np.ndarray | None:
        match self.tokenizer.get("model"):
            case {"type": "WordPiece", "continuing_subword_prefix": str(prefix)}:
                tokens = [self._model.id_to_token(int(i)) or "" for i in self.theirs]
                return np.array([token.startswith(prefix) for token in tokens])
        return None

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        with panics_as_errors():
            found = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._ours[encoding.ids] for encoding in found]

    def _encode_with_spans(self, texts: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(self._ours[ids], spans) for ids, spans in library_spans(self._model, texts)]

    def _decode(self, ids: list[int]) -> str:
        return str(self._model.decode(self.theirs[ids].tolist(), skip_special_tokens=False))
