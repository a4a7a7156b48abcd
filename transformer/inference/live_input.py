"""Standard input that another process or a person writes, and who may wait for an answer before writing on."""

import io
import os
import select

PATIENCE = 0.02  # seconds without a byte, after which the writer is taken to wait for an answer
CHUNK = 2**16  # bytes read at once
LONGEST = 2**22  # bytes of a line up to which `idle` looks for its end


class LiveInput(io.RawIOBase):
    """A pipe, socket or terminal as a stream of bytes that tells whether a whole line is available.

    `io.IOBase` makes `readline` of `peek` and `readinto`.

    Args:
        descriptor: open for reading; it stays open.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._locked = bytearray()  # read and not returned yet
        self._ended = False

    def readable(self) -> bool:
        return True

    def idle(self) -> bool:
        """Return whether the next line has to be waited for; False also where there is none any more."""
        seen = 0
        while self._locked.find(b"\n", seen) < 0 and not self._ended and len(self._locked) < LONGEST:
            if not select.select([self._descriptor], [], [], PATIENCE)[0]:
                return True
            seen = len(self._locked)
            self._fill()
        return False

    def peek(self, size: int = 0, /) -> bytes:
        """Return some bytes, which stay in the stream; waits for them where none are held."""
        if not self._locked and not self._ended:
            self._fill()
        return bytes(self._locked[: io.DEFAULT_BUFFER_SIZE])

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self.peek()[: len(buffer)]
        buffer[: len(part)] = part
        del self._locked[: len(part)]
        return len(part)

    def _fill(self) -> None:
        try:
            chunk = os.read(self._descriptor, CHUNK)
        except BlockingIOError:  # it was opened so that reading does not wait
            select.select([self._descriptor], [], [])
            chunk = os.read(self._descriptor, CHUNK)
        self._locked += chunk
        self._ended = not chunk
