"""A terminal as the live region writes to it: what it takes at once, and never more."""

from __future__ import annotations

import os
import select
from typing import IO, Final, Self

__all__ = ["Terminal"]

_PIECE: Final = 256  # bytes: with this much a terminal that is ready takes, it hardly blocks


class Terminal:
    """The terminal that a stream leads to, through a descriptor of its own.

    A descriptor that was handed to this process shares its modes with other programs, so it cannot be told not to
    block. The terminal is opened anew instead. Where that is not allowed (``su``, some containers), a copy of the
    descriptor is asked before each small piece whether it is ready; it may then still block, though rarely.

    Args:
        stream: A stream that leads to the terminal; stays open.

    Raises:
        OSError: It leads to no terminal, or no descriptor is left.
        ValueError: It is closed, or has no descriptor.
    """

    def __init__(self, stream: IO[str]) -> None:
        inherited = stream.fileno()
        if os.name != "posix" or not os.isatty(inherited):
            raise OSError("not a terminal")
        own = _opened_anew(inherited)
        self.never_blocks: Final = own is not None
        self._fd = os.dup(inherited) if own is None else own

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

    def send(self, data: bytes) -> int:
        """Write what the terminal takes now; return how many bytes that was, 0 if it takes nothing.

        Raises:
            OSError: The terminal is gone.
        """
        if not self.never_blocks:
            data = data[:_PIECE]
            if not self._is_ready():
                return 0
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0

    def _is_ready(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Give the descriptor back; closing twice is fine."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)


def _opened_anew(inherited: int) -> int | None:
    """Open the terminal by its name; the same name can mean another terminal in a container."""
    for name in (_name_of(inherited), f"/proc/self/fd/{inherited}"):
        try:
            own = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            continue
        if os.path.sameopenfile(own, inherited):
            return own
        os.close(own)
    return None


def _name_of(descriptor: int) -> str:
    try:
        return os.ttyname(descriptor)
    except OSError:
        return ""
