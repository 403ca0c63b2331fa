"""A terminal as the live region writes to it."""

from __future__ import annotations

import os
import select
from typing import IO, Final, Self

__all__ = ["Terminal"]

_WAIT_MS: Final = 1000


class Terminal:
    """The terminal that a stream leads to, below all buffers of Python's, whose locks a thread may hold for ever.

    Args:
        stream: A stream that leads to the terminal; stays open.

    Raises:
        OSError: It leads to no terminal, or no descriptor is left.
        ValueError: It is closed, or has no descriptor.
    """

    def __init__(self, stream: IO[str]) -> None:
        if os.name != "posix" or not os.isatty(stream.fileno()):
            raise OSError("not a terminal")
        self._fd = os.dup(stream.fileno())

    @classmethod
    def of(cls, stream: IO[str]) -> Self | None:
        """Return the terminal that a stream leads to, if it leads to one."""
        try:
            return cls(stream)
        except (OSError, ValueError, AttributeError):
            return None

    def size(self) -> tuple[int, int] | None:
        """Return columns and rows as they are now; ``None`` where the terminal does not know them."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            return None
        return (columns, rows) if columns > 0 and rows > 0 else None

    def is_ready(self, wait_ms: int = 0) -> bool:
        """Say whether the terminal takes something now: not after Ctrl-S, nor when nobody has read it for long."""
        poll = select.poll()
        try:
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(wait_ms))
        except (OSError, ValueError):  # it has just been closed
            return False

    def send(self, data: bytes) -> None:
        """Write everything; blocks while the terminal takes nothing, which may be for ever.

        What other programs write meanwhile comes before it or after it, not between.

        Raises:
            OSError: The terminal is gone.
        """
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # somebody has told the terminal not to block
                self.is_ready(_WAIT_MS)

    def close(self) -> None:
        """Give the descriptor back; closing twice is fine."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)
