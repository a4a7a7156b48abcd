"""Standard input that somebody may be writing just now, and who may wait for an answer before writing on."""

from __future__ import annotations

import io
import os
import select

PATIENCE = 0.02  # seconds without a byte after which whoever writes is taken to wait for an answer
CHUNK = 2**16  # bytes read at once
LONGEST = 2**22  # bytes of a line up to which its end is looked for ahead


class LiveInput(io.BufferedIOBase):
    """A pipe, socket or terminal, read as a stream of bytes, that says whether a whole line is at hand.

    Args:
        descriptor: open for reading; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = bytearray()  # read and not taken yet
        self._ended = False

    def readable(self) -> bool:
        return True

    def idle(self) -> bool:
        """Return whether the next line has to be waited for; False also where there is none any more."""
        seen = 0
        while self._held.find(b"\n", seen) < 0 and not self._ended and len(self._held) < LONGEST:
            if not select.select([self._descriptor], [], [], PATIENCE)[0]:
                return True
            seen = len(self._held)
            self._fill()
        return False

    def readline(self, size: int | None = -1, /) -> bytes:
        most = float("inf") if size is None or size < 0 else size
        seen = 0
        while (end := self._held.find(b"\n", seen)) < 0 and len(self._held) < most:
            seen = len(self._held)
            if not self._fill():
                break
        return self._take(min(len(self._held) if end < 0 else end + 1, most))

    def read(self, size: int | None = -1, /) -> bytes:
        most = float("inf") if size is None or size < 0 else size
        while len(self._held) < most and self._fill():
            pass
        return self._take(min(len(self._held), most))

    def read1(self, size: int = -1, /) -> bytes:
        held = len(self.peek())
        return self._take(held if size < 0 else min(held, size))

    def peek(self, size: int = 0, /) -> bytes:
        """Return what is held, after waiting for some where nothing is, without taking it."""
        if not self._held:
            self._fill()
        return bytes(self._held)

    def _fill(self) -> bool:
        """Read some more, waiting for it; returns whether there was any."""
        try:
            chunk = os.read(self._descriptor, CHUNK)
        except BlockingIOError:  # whoever opened it does not wait when reading it
            select.select([self._descriptor], [], [])
            chunk = os.read(self._descriptor, CHUNK)
        self._held += chunk
        self._ended = not chunk
        return bool(chunk)

    def _take(self, count: float) -> bytes:
        taken = bytes(self._held[: int(count)])
        del self._held[: int(count)]
        return taken
