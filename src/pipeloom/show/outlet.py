"""The way to the terminal of a live region: lines that wait for it, and the frame below them.

Nothing here waits for the terminal, which may take nothing for long (Ctrl-S, a hung connection). Whoever has
something to say appends it, and then writes all there is, unless another thread is just doing that. The region's
thread draws frames, and goes on where the terminal took no more. Frames are dropped meanwhile. Lines are kept up to
a limit; beyond it a task waits as it would without a region, and the threads that run a run lose the line.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Final

from pipeloom.show.terminal import Terminal

__all__ = ["RETRY_S", "Outlet"]

RETRY_S: Final = 0.02  # while the terminal takes nothing
_BETWEEN_S: Final = 0.02  # between two frames, however much is printed
_LIMIT: Final = 256 * 1024  # bytes that wait for the terminal
_AT_ONCE: Final = 64 * 1024  # bytes of one write

_ERASE_BELOW: Final = b"\x1b[J"


class Outlet:
    """What is on its way to one terminal; any thread may call any method.

    Args:
        terminal: Where to write; closed with the outlet.
        default_size: Columns and rows of a terminal that does not know its size.
        call: Wakes the region's thread; must take no lock, since a signal's handler may print.
        may_wait: Whether the calling thread may wait for the terminal.
    """

    def __init__(
        self,
        terminal: Terminal,
        default_size: Callable[[], tuple[int, int]],
        call: Callable[[], None],
        may_wait: Callable[[], bool],
    ) -> None:
        self._terminal = terminal
        self._default_size = default_size
        self._call = call
        self._may_wait = may_wait
        self._turn = threading.Lock()  # whose turn it is to write; nobody ever waits for it
        self._pending: deque[bytes] = deque()
        self._unsent = b""
        self._lost = 0  # lines
        self._frame: Sequence[bytes] = ()
        self._made_for = (0, 0)
        self._is_due = False  # the frame is to be drawn, or taken off
        self._is_shown = False
        self._is_hidden = False
        self._is_closed = False
        self.drawn_at = 0.0
        self.drawer: int | None = None  # the region's thread

    def room(self) -> tuple[int, int]:
        """Return columns and rows that a frame may have: the last column may wrap, the cursor rests in a row."""
        columns, rows = self._terminal.size() or self._default_size()
        return max(columns - 1, 1), max(rows - 1, 1)

    @property
    def is_behind(self) -> bool:
        """Whether there is something that the terminal has not got yet."""
        return bool(self._unsent or self._pending or self._is_due or (self._is_wanted and not self._is_shown))

    @property
    def _is_wanted(self) -> bool:
        return bool(self._frame) and not self._is_hidden

    # --- what to write ---

    def say(self, lines: bytes) -> bool:
        """Write whole lines above the frame; ``False`` if this outlet has been closed."""
        if self._weight() > _LIMIT:
            if not self._may_wait():
                self._lost += lines.count(b"\n")
                return True
            while self._weight() > _LIMIT and not self._is_closed:
                self.write()
                sleep(RETRY_S)
        self.add(lines)
        self.write()
        if not self._is_closed:
            return True
        try:
            self._pending.remove(lines)
        except ValueError:
            return True  # it was written in time
        return False

    def add(self, lines: bytes) -> None:
        """Leave whole lines to whoever writes next."""
        if lines:
            self._pending.append(lines)

    def _weight(self) -> int:
        """Return how many bytes wait; there are seldom any."""
        return sum(map(len, self._pending.copy())) if len(self._pending) > 1 else 0

    def show(self, frame: Sequence[bytes], room: tuple[int, int]) -> None:
        """Have a frame drawn at the next write.

        Args:
            frame: Its rows, n of them, which may be 0.
            room: What :meth:`room` was when it was made. On a terminal of another size it is not drawn.
        """
        self._frame, self._made_for = frame, room
        self._is_due = True

    def hide(self, is_hidden: bool) -> None:
        """Take the frame off at the next write, or have it drawn again."""
        self._is_hidden = is_hidden
        self._is_due = True

    # --- writing ---

    def write(self) -> None:
        """Write what there is, as far as the terminal takes it; if another thread does so, it sees to ours."""
        while self._pending or self._unsent or self._is_due:
            if not (self._terminal.never_blocks or threading.get_ident() == self.drawer):
                self._call()
                return
            if not self._turn.acquire(blocking=False):
                return
            try:
                goes_on = not self._is_closed and self._write_some()
            except (OSError, ValueError):  # the terminal is gone, and its readers with it
                self._pending.clear()
                self._unsent = b""
                self._is_due = self._is_shown = False
                return
            finally:
                self._turn.release()
            if not goes_on:
                return

    def settle(self, limit_s: float) -> None:
        """Wait until nothing is left to write, but no longer than this."""
        until = monotonic() + limit_s
        self.write()
        while (self._unsent or self._pending or self._is_due) and not self._is_closed and monotonic() < until:
            sleep(RETRY_S)
            self.write()

    def close(self) -> bool:
        """Give the terminal back, if nothing is left to write; say whether that was so."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._pending or self._unsent or self._is_due:
                return False
            self._is_closed = True
            # During somebody's turn: who writes must not find another file behind the descriptor's number.
            self._terminal.close()
            return True
        finally:
            self._turn.release()

    def abandon(self) -> None:
        """Close in a forked child, where the turn may be somebody's who is not there."""
        self._is_closed = True
        self._terminal.close()

    def _write_some(self) -> bool:
        if not self._unsent:
            self._unsent = self._next()
        if not self._unsent:
            return bool(self._pending)
        sent = self._terminal.send(self._unsent)
        self._unsent = self._unsent[sent:]
        return sent > 0

    def _next(self) -> bytes:
        """Return what is to be written now: the lines that wait, and the frame below them if it is time."""
        text = self._take_lines()
        is_due, self._is_due = self._is_due, False
        if not text and not is_due:
            return b""
        if self._is_shown and (text or not self._is_wanted):
            text = _ERASE_BELOW + text
            self._is_shown = False
        now = monotonic()
        is_time = is_due or now - self.drawn_at >= _BETWEEN_S
        if not (self._is_wanted and is_time and self.room() == self._made_for):
            if self._is_wanted:
                self._call()
            return text
        self.drawn_at = now
        self._is_shown = True
        return text + _drawing(self._frame)

    def _take_lines(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while self._pending and size < _AT_ONCE:
            parts.append(self._pending.popleft())
            size += len(parts[-1])
        if self._lost and not self._pending:
            lost, self._lost = self._lost, 0
            parts.append(f"pipeloom: the terminal took nothing for a while: {lost:,} lines were lost\n".encode())
        return b"".join(parts)


def _drawing(frame: Sequence[bytes]) -> bytes:
    """Return what draws a frame below the cursor, which stays where it is, even in the middle of a line.

    Going down by ESC D scrolls where there is no room below, and keeps the column; so does going up again.
    """
    count = len(frame)
    rows = b"".join(b"\r\n" + row for row in frame)
    return b"%b\x1b[%dA\x1b7\x1b[0m\x1b[J%b\x1b8" % (b"\x1bD" * count, count, rows)
