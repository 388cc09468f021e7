"""The end of what a process writes, kept in bounded memory however much it is."""

import os
import sys

import anyio

from chancy_core import codec

#: How many bytes are read at once.
_CHUNK = 65_536
#: How often is read once the process has ended: what a pipe holds is read much sooner.
_ROUNDS = 64
#: Bytes with which no character begins, in UTF-8; at most three of them follow one another.
_WITHIN = range(0x80, 0xC0)


class Tail:
    """A pipe for a process to write into, and the last *limit* bytes of what it wrote.

    Both ends of the pipe stay open here, and what the process has started may have its end, too:
    all has been written when the process has ended, and not when nobody can write any more.
    """

    def __init__(self, limit: int) -> None:
        #: The file descriptor that the process is given.
        self.writer: int
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._limit = limit
        self._kept = bytearray()
        self._count = 0

    async def follow(self) -> None:
        """Read whatever is written, until this is cancelled."""
        while True:
            await anyio.wait_readable(self._reader)
            self._read()

    def drain(self) -> None:
        """Read what a process that has ended has left in the pipe.

        What others go on writing there is not waited for.
        """
        for _ in range(_ROUNDS):
            if not self._read():
                return

    def _read(self) -> bool:
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        self._count += len(data)
        self._kept += data
        del self._kept[: max(0, len(self._kept) - self._limit)]
        return True

    def text(self) -> str:
        """Return the end as text that PostgreSQL stores, after a line that says what is missing."""
        begin = 0
        if self._count > len(self._kept):  # the first character may have lost its beginning
            while begin < min(3, len(self._kept)) and self._kept[begin] in _WITHIN:
                begin += 1
        cut = self._count - len(self._kept) + begin
        said = codec.clean(self._kept[begin:].decode(errors="replace"), sys.maxsize)
        return f"[{cut:,} bytes cut]\n{said}" if cut else said

    def close(self) -> None:
        """Close both ends; nobody may follow it any more."""
        os.close(self._reader)
        os.close(self.writer)
