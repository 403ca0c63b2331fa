"""The way to the terminal of a live region: lines that wait for it, and the frame below them.

Each write is one system call, so that what another program writes cannot end up in the middle of a frame. It may
block for long: after Ctrl-S, or on a hung connection. So whoever has something to say appends it, and writes what
there is only if the terminal is ready and nobody else is writing. The rest is left to the region's thread. So is
what threads say that must never wait. Lines are kept up to a limit; beyond it a task waits as it would without a
region, and those threads lose the line.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Final

from pipeloom.show.terminal import Terminal

__all__ = ["RETRY_S", "Outlet"]

RETRY_S: Final = 0.02  # while the terminal takes nothing
_FRAMES_PER_S: Final = 500_000  # bytes: how much is drawn because of lines that a frame must make way for
_LIMIT: Final = 256 * 1024  # bytes that wait for the terminal
_AT_ONCE: Final = 64 * 1024  # bytes of one write

_ERASE_BELOW: Final = b"\x1b[J"
_SHOWN: Final = re.compile(rb"(?:[^\x00-\x1f\x7f]|\x1b\[[0-9;]*m)*")  # letters and colours


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
        self._lost = 0  # lines
        self._frame: Sequence[bytes] = ()
        self._made_for = (0, 0)
        self._is_due = False  # the frame is to be drawn, or taken off
        self._is_shown = False
        self._is_hidden = False
        self._is_closed = False
        self.drawn_at = 0.0

    def room(self) -> tuple[int, int]:
        """Return columns and rows that a frame may have: the last column may wrap, the cursor rests in a row."""
        columns, rows = self._terminal.size() or self._default_size()
        return max(columns - 1, 1), max(rows - 1, 1)

    @property
    def is_behind(self) -> bool:
        """Whether there is something that the terminal has not got yet."""
        return bool(self._pending or self._is_due or self._is_shown != self._is_wanted)

    @property
    def has_frame(self) -> bool:
        """Whether there is a frame to show, even if it is hidden."""
        return bool(self._frame)

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
        """Write what there is; left to the region's thread by who must not wait, or if the terminal takes nothing.

        If another thread is just writing, it sees to ours.
        """
        while self._pending or (self._is_shown and not self._is_wanted):
            if not (self._may_wait() and self._terminal.is_ready()):
                self._call()
                return
            if not self._write_once():
                return

    def draw(self) -> None:
        """Write what there is, and the frame, in the region's thread; blocks while the terminal takes nothing."""
        self._is_due = self._is_due or (self._is_wanted and not self._is_shown)
        while (self._pending or self._is_due) and self._write_once():
            pass

    def _write_once(self) -> bool:
        """Write, unless another thread is just writing; say whether this went well."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._is_closed:
                return False
            self._terminal.send(self._next())
        except (OSError, ValueError):  # the terminal is gone, and its readers with it
            self._pending.clear()
            self._is_due = self._is_shown = False
            return False
        finally:
            self._turn.release()
        return True

    def settle(self, limit_s: float) -> None:
        """Wait until nothing is left to write, but no longer than this."""
        until = monotonic() + limit_s
        self.write()
        self._call()
        while self.is_behind and not self._is_closed and monotonic() < until:
            sleep(RETRY_S / 4)

    def close(self) -> bool:
        """Give the terminal back, if nothing is left to write; say whether that was so."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._pending or self._is_due:
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

    def _next(self) -> bytes:
        """Return what is to be written now: the lines that wait, and the frame below them if it is time."""
        text = self._take_lines()
        is_due, self._is_due = self._is_due, False
        room = self.room()
        is_wanted = self._is_wanted and room == self._made_for
        if self._is_shown and (text or not is_wanted):
            inserted = _inserting(text, *room, len(self._frame)) if is_wanted else None
            self._is_shown = inserted is not None
            text = _ERASE_BELOW + text if inserted is None else inserted
        if not is_wanted or (self._is_shown and not is_due):
            return text
        drawing = _drawing(self._frame)
        now = monotonic()
        if not is_due and now - self.drawn_at < len(drawing) / _FRAMES_PER_S:
            self._call()
            return text
        self.drawn_at = now
        self._is_shown = True
        return text + drawing

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


def _inserting(text: bytes, columns: int, rows: int, below: int) -> bytes | None:
    """Return what writes lines of one row each and moves the frame down, which then need not be drawn again.

    ``None`` if a line may take more than a row, or does more than to be shown, or there is no row to move to. A
    letter takes no more columns than it has bytes.
    """
    lines = [line.rstrip(b" ") for line in text.split(b"\n")[:-1]]
    if (
        below >= rows
        or len(lines) > rows
        or not all(len(line) < columns and _SHOWN.fullmatch(line) for line in lines)
    ):
        return None
    make_room = b"\x1bD" * (below + 1) + b"\x1b[%dA" % (below + 1)
    return b"".join(b"%b%b\x1b[K\r\n\x1b[L" % (make_room, line) for line in lines)


def _drawing(frame: Sequence[bytes]) -> bytes:
    """Return what draws a frame below the cursor, which stays where it is, even in the middle of a line.

    Going down by ESC D scrolls where there is no room below, and keeps the column; so does going up again.
    """
    count = len(frame)
    rows = b"".join(b"\r\n" + row for row in frame)
    return b"%b\x1b[%dA\x1b7\x1b[0m\x1b[J%b\x1b8" % (b"\x1bD" * count, count, rows)
