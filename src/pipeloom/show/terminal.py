"""A terminal as the live region writes to it."""

from __future__ import annotations

import os
import select
from typing import IO, Final, Self

__all__ = ["Terminal"]

_WAIT_MS: Final = 1000


class Terminal:
    """The terminal of a stream, below all buffers of Python's, whose locks a thread may hold forever.

    Args:
        stream: A stream that leads to the terminal; stays open.

    Raises:
        OSError: The stream does not lead to a terminal, or no descriptor is left.
        ValueError: The stream is closed or has no descriptor.
    """

    def __init__(self, stream: IO[str]) -> None:
        if os.name != "posix" or not os.isatty(stream.fileno()):
            raise OSError("not a terminal")
        self._fd = os.dup(stream.fileno())

    @classmethod
    def of(cls, stream: IO[str]) -> Self | None:
        """Return the terminal that a stream leads to; ``None`` if there is none."""
        try:
            return cls(stream)
        except (OSError, ValueError, AttributeError):
            return None

    def size(self) -> tuple[int, int] | None:
        """Return the current columns and rows; ``None`` if the terminal does not report them."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            return None
        return (columns, rows) if columns > 0 and rows > 0 else None

    def is_ready(self, wait_ms: int = 0) -> bool:
        """Return whether the terminal accepts output now: not after Ctrl-S, nor if unread for long."""
        poll = select.poll()
        try:
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(wait_ms))
        except (OSError, ValueError):  # it was just closed
            return False

    def send(self, data: bytes) -> None:
        """Write everything; blocks while the terminal accepts nothing, possibly forever.

        Output of other programs comes before or after it, not in the middle.

        Raises:
            OSError: The terminal is gone.
        """
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # another program has made the terminal non-blocking
                self.is_ready(_WAIT_MS)

    def close(self) -> None:
        """Close the descriptor; closing twice is fine."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)
