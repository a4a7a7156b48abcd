"""Lists of texts that a task learns, such as its classes or its characters, on disk and in memory."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from transformer.system.errors import UserError
from transformer.system.files import parse_json, path_inside, read_inside, write_atomically

FILE = "labels.json"


class Labels:
    """Lists of texts by name. A text's id is its place in its list.

    Use: `Labels({"language": ["de", "pt"]})["language"]` is `("de", "pt")`.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]]) -> None:
        self.lists = {name: tuple(texts) for name, texts in lists.items()}

    def __getitem__(self, name: str) -> tuple[str, ...]:
        return self.lists[name]

    def fingerprint(self) -> str:
        """Return the SHA-256, in hexadecimal, of all lists in their order."""
        return hashlib.sha256(json.dumps(self.lists).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the lists into `folder`; an OSError tells that it cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(
            path_inside(folder, FILE), (json.dumps(self.lists, indent=2, ensure_ascii=False) + "\n").encode()
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; a missing or damaged file is a UserError."""
        path = folder / FILE
        try:
            lists = parse_json(read_inside(folder, FILE))
            if not all(isinstance(text, str) for texts in lists.values() for text in texts):
                raise ValueError("an entry is no text")
            return cls(lists)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; restore it or train the run again") from None
        except (ValueError, TypeError, AttributeError):
            raise UserError(f"{path} is damaged; restore it or train the run again") from None
