"""The output to the terminal of a live region: lines waiting to be written, and the frame below them.

Each write is one system call, so the output of another program cannot end up in the middle of a frame. A write may
block for long: after Ctrl-S, or on a hung connection. A thread with something to print therefore appends it, and
writes everything only if the terminal is ready and no other thread is writing. Otherwise, the region's thread
writes it. It also writes the lines of threads that must never wait. Lines are kept up to a limit. Beyond it, a task
waits as it would without a region, and threads that must never wait lose the line.
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

RETRY_S: Final = 0.02  # while the terminal accepts nothing
_FRAMES_PER_S: Final = 500_000  # bytes: the limit on redrawing frames for the lines written above them
_LIMIT: Final = 256 * 1024  # bytes waiting for the terminal
_AT_ONCE: Final = 64 * 1024  # bytes per write

_ERASE_BELOW: Final = b"\x1b[J"
_SHOWN: Final = re.compile(rb"(?:[^\x00-\x1f\x7f]|\x1b\[[0-9;]*m)*")  # printable characters and colours


class Outlet:
    """The output on its way to one terminal; any thread may call any method.

    Args:
        terminal: Where to write; closed together with the outlet.
        default_size: Returns columns and rows for a terminal that does not report its size.
        call: Wakes the region's thread; must take no lock, since a signal handler may print.
        may_wait: Returns whether the calling thread may wait for the terminal.
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
        self._turn = threading.Lock()  # held by the thread that writes; no thread ever waits for it
        self._pending: deque[bytes] = deque()
        self._lost = 0  # lines
        self._frame: Sequence[bytes] = ()
        self._made_for = (0, 0)
        self._is_due = False  # the frame must be drawn or removed
        self._is_shown = False
        self._is_hidden = False
        self._is_closed = False
        self.drawn_at = 0.0

    def room(self) -> tuple[int, int]:
        """Return the columns and rows available to a frame: the last column may wrap, the cursor needs a row."""
        columns, rows = self._terminal.size() or self._default_size()
        return max(columns - 1, 1), max(rows - 1, 1)

    @property
    def is_behind(self) -> bool:
        """Whether something has not reached the terminal yet."""
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
        """Write whole lines above the frame; return ``False`` if this outlet has been closed."""
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
            return True  # they were written before it closed
        return False

    def add(self, lines: bytes) -> None:
        """Append whole lines for the next write."""
        if lines:
            self._pending.append(lines)

    def _weight(self) -> int:
        """Return how many bytes are waiting; usually none."""
        return sum(map(len, self._pending.copy())) if len(self._pending) > 1 else 0

    def show(self, frame: Sequence[bytes], room: tuple[int, int]) -> None:
        """Have a frame drawn with the next write.

        Args:
            frame: Its rows, n of them, which may be 0.
            room: The value of :meth:`room` when the frame was made; on a terminal of another size it is not drawn.
        """
        self._frame, self._made_for = frame, room
        self._is_due = True

    def hide(self, is_hidden: bool) -> None:
        """Remove the frame with the next write, or have it drawn again."""
        self._is_hidden = is_hidden
        self._is_due = True

    # --- writing ---

    def write(self) -> None:
        """Write what is waiting, or leave it to the region's thread.

        It is left if the calling thread must not wait, or if the terminal accepts nothing. If another thread is
        writing, that thread also writes this.
        """
        while self._pending or (self._is_shown and not self._is_wanted):
            if not (self._may_wait() and self._terminal.is_ready()):
                self._call()
                return
            if not self._write_once():
                return

    def draw(self) -> None:
        """Write what is waiting and the frame, in the region's thread; blocks if the terminal accepts nothing."""
        self._is_due = self._is_due or (self._is_wanted and not self._is_shown)
        while (self._pending or self._is_due) and self._write_once():
            pass

    def _write_once(self) -> bool:
        """Write, unless another thread is writing; return whether it succeeded."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._is_closed:
                return False
            self._terminal.send(self._next())
        except (OSError, ValueError):  # the terminal is gone, and so is its reader
            self._pending.clear()
            self._is_due = self._is_shown = False
            return False
        finally:
            self._turn.release()
        return True

    def settle(self, limit_s: float) -> None:
        """Wait until nothing is left to write, at most ``limit_s`` seconds."""
        until = monotonic() + limit_s
        self.write()
        self._call()
        while self.is_behind and not self._is_closed and monotonic() < until:
            sleep(RETRY_S / 4)

    def close(self) -> bool:
        """Close the terminal if nothing is left to write; return whether it was closed."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._pending or self._is_due:
                return False
            self._is_closed = True
            # While holding the turn: a writing thread must not find another file under the descriptor's number.
            self._terminal.close()
            return True
        finally:
            self._turn.release()

    def abandon(self) -> None:
        """Close in a forked child, where the turn may be held by a thread that does not exist there."""
        self._is_closed = True
        self._terminal.close()

    def _next(self) -> bytes:
        """Return what to write now: the waiting lines, and the frame below them if it is due."""
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
            parts.append(f"pipeloom: the terminal accepted nothing for a while: {lost:,} lines lost\n".encode())
        return b"".join(parts)


def _inserting(text: bytes, columns: int, rows: int, below: int) -> bytes | None:
    """Return bytes that write lines of one row each and move the frame down, so that it need not be redrawn.

    ``None`` if a line may take more than one row or contains more than printable text and colours, or if there is
    no row to move to. A character takes no more columns than it has bytes.
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
    """Return bytes that draw a frame below the cursor, which keeps its position even in the middle of a line.

    Moving down with ESC D scrolls if there is no room below, and keeps the column; so does moving up again.
    """
    count = len(frame)
    rows = b"".join(b"\r\n" + row for row in frame)
    return b"%b\x1b[%dA\x1b7\x1b[0m\x1b[J%b\x1b8" % (b"\x1bD" * count, count, rows)
