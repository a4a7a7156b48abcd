"""What may stand at the masks of a text."""

import dataclasses
from typing import NamedTuple


class Candidate(NamedTuple):
    """A token that may stand at a mask."""

    text: str
    probability: float


class Mask(NamedTuple):
    """A mask of a text, by its characters, and what may stand there, the likeliest first."""

    start: int
    end: int
    candidates: tuple[Candidate, ...]


@dataclasses.dataclass(frozen=True)
class FilledMasks:
    """What a masked language model says of a text."""

    text: str
    masks: tuple[Mask, ...]  #: in their order; each is filled as if nobody knew what stands at the others
