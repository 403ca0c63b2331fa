r"""The one live region of the shared console: sections of runs and of Rich's displays, one below the other.

::

    line of output           the cursor rests at the start of an empty row, where the next line of output belongs:
    █                        what is written by somebody who knows nothing of the region, such as a subprocess,
    load  ━━━━━  34/40       appears there and scrolls as usual, and the next frame begins below it
      33 done · 1 failed

A frame is drawn in one write: make room below, remember the cursor, erase below, write the rows, return. So nobody
needs to know where the region was, it heals after a change of size or a stop (Ctrl-Z), and there is nothing to put
back after a kill: the cursor is never hidden.

Nothing here waits for the terminal, which may take nothing for long (Ctrl-S, a hung connection). Whoever has
something to say appends it, and then writes all there is, unless another thread is just doing that. A thread of
the region draws frames, and goes on where the terminal took no more. Frames are dropped meanwhile. Lines are kept
up to a limit; beyond it a task waits as it would without a region, and the threads that run a run lose the line.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import IO, Final, Protocol

from rich.errors import LiveError
from rich.segment import Segment

from pipeloom.show.catching import CaughtStream, streams_on
from pipeloom.show.lines import Lines
from pipeloom.show.terminal import Terminal

__all__ = ["Region", "Section"]

_TICK_S: Final = 0.1  # between two looks at the sections
_REDRAW_S: Final = 0.25  # between two frames that are the same, in case somebody has written over them
_BETWEEN_S: Final = 0.02  # between two frames, however much is printed
_RETRY_S: Final = 0.02  # while the terminal takes nothing
_LOOK_S: Final = 0.3  # how long a bar must stand still to be final
_AT_THE_END_S: Final = 1.0  # how long a run waits for a terminal that takes nothing
_LIMIT: Final = 256 * 1024  # bytes that wait for the terminal
_AT_ONCE: Final = 64 * 1024  # bytes of one write
_MOST_UNFINISHED: Final = 8  # rows

_ERASE_BELOW: Final = b"\x1b[J"
_NEVER_WAITS: Final = "pipeloom-writer"  # the name of the writer's thread: it must not wait for a terminal


class Section(Protocol):
    """What one run shows in the region: lines, rendered. Replaced as a whole, since another thread reads it."""

    @property
    def frame(self) -> Sequence[Segment]:
        """The lines, each but the last with its end."""


class Screen(Protocol):
    """What the region knows of its console."""

    @property
    def file(self) -> IO[str]:
        """Where it writes."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""

    def lines_of(self, text: str) -> Sequence[Segment]:
        """Return text with colours as segments."""

    def encode(self, segments: Iterable[Segment]) -> bytes:
        """Return segments as the terminal reads them."""


class Region:
    """The live region; any thread may call any method.

    Args:
        screen: Its console.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._is_closed = False
        self._caught: Sequence[CaughtStream] = ()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Be as new: at first, and in a forked child, where locks may be held by threads that are not there."""
        self._guard = threading.Lock()  # over sections and the thread that draws; never held over a write
        self._turn = threading.Lock()  # whose turn it is to write; nobody ever waits for it
        self._sections: tuple[Section, ...] = ()
        self._callers: tuple[int, ...] = ()  # the threads that wait for runs
        self._thread: threading.Thread | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()  # its put takes no lock: a signal's handler may print
        self._terminal: Terminal | None = None
        self._lines = Lines()
        self._pending: deque[bytes] = deque()
        self._unsent = b""
        self._lost = 0
        self._frame: tuple[bytes, ...] = ()
        self._size = (80, 25)
        self._is_due = False
        self._is_shown = False
        self._pauses = 0
        self._drawn_at = 0.0
        self._looked_at = 0.0

    def forget(self) -> None:
        """In a forked child: the region is the parent's. Its streams stay caught, and let the child's text pass."""
        if self._terminal is not None:
            self._terminal.close()
        self._begin_anew()

    # --- come and go ---

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows that each section may have."""
        columns, rows = self._room()
        return columns, max(rows // max(len(self._sections), 1), 1)

    def _room(self) -> tuple[int, int]:
        """Return what the frame may have: one row is where the cursor rests, and the last column may wrap."""
        terminal = self._terminal
        columns, rows = (terminal.size() if terminal is not None else None) or self._screen.size
        return max(columns - 1, 1), max(rows - 1, 1)

    def join(self, section: Section, *, waits: bool = False) -> None:
        """Show a section until it leaves.

        Args:
            section: What to show.
            waits: This thread waits for a run: it must never wait for the terminal.

        Raises:
            LiveError: There is no terminal that can show it.
        """
        with self._guard:
            if self._thread is None:
                self._open()
            elif not self._caught:  # it was about to end
                self._catch_streams(self._screen.file)
            self._sections += (section,)
            if waits:
                self._callers += (threading.get_ident(),)
        self._bell.put(None)

    def _open(self) -> None:
        if self._is_closed:
            raise LiveError("the interpreter is ending")
        self._release_streams()
        file = self._screen.file
        terminal = Terminal.of(file)
        if terminal is None:
            raise LiveError("standard error is not a terminal")
        self._terminal = terminal
        thread = threading.Thread(target=self._run, args=(terminal,), name="pipeloom-screen", daemon=True)
        self._catch_streams(file)
        try:
            thread.start()
        except RuntimeError as error:
            self._release_streams()
            terminal.close()
            self._terminal = None
            raise LiveError("no thread can be started to draw") from error
        self._thread = thread
        atexit.register(self._end)

    def _catch_streams(self, file: IO[str]) -> None:
        self._caught = [CaughtStream(stream, self._lines, self.say) for stream in streams_on(file)]

    def _release_streams(self) -> None:
        caught, self._caught = self._caught, ()
        for stream in caught:
            stream.release()

    def leave(self, section: Section, last: Sequence[Segment] = ()) -> None:
        """Take a section away; its last state, if there is any, stays as lines. Leaving twice is fine.

        The last one to leave waits until all is written, but no longer than a second.
        """
        with self._guard:
            rest = tuple(other for other in self._sections if other is not section)
            if len(rest) == len(self._sections):
                return
            if not rest:
                self._pending.append(self._lines.close().encode("utf-8", "surrogateescape"))
            columns, _ = self._room()
            self._pending.extend(row + b"\n" for row in self._rows_of(last, columns))
            self._sections = rest
            callers = list(self._callers)
            if threading.get_ident() in callers:
                callers.remove(threading.get_ident())
            self._callers = tuple(callers)
            thread = self._thread
        self._is_due = True
        self._write()
        self._bell.put(None)
        if not rest and thread is not None:
            thread.join(_AT_THE_END_S)

    def _end(self) -> None:
        """Leave a clean terminal, when the interpreter ends before a run in a daemon thread does."""
        self._is_closed = True
        self._pending.append(self._lines.close().encode("utf-8", "surrogateescape"))
        self.pause()
        self._release_streams()

    # --- stop and go on ---

    def pause(self) -> None:
        """Take the frame off the terminal, such as before the process is stopped; waits 0.2 s at most."""
        self._pauses += 1
        self._is_due = True
        until = monotonic() + _TICK_S * 2
        self._write()
        while (self._is_shown or self._unsent) and self._terminal is not None and monotonic() < until:
            sleep(_RETRY_S)
            self._write()

    def resume(self) -> None:
        """Show the frame again."""
        self._pauses = max(self._pauses - 1, 0)
        self._is_due = True
        self._write()

    # --- speak ---

    def say(self, lines: bytes) -> bool:
        """Write whole lines above the sections; ``False`` if there is no region any more.

        A task waits while there are too many that the terminal has not taken.
        """
        if self._weight() > _LIMIT:
            if self._must_not_wait():
                self._lost += lines.count(b"\n")
                return True
            while self._weight() > _LIMIT and self._terminal is not None:
                self._write()
                sleep(_RETRY_S)
        self._pending.append(lines)
        self._write()
        if self._terminal is not None:
            return True
        try:
            self._pending.remove(lines)
        except ValueError:
            return True  # it was written in time
        return False

    def _must_not_wait(self) -> bool:
        thread = threading.current_thread()
        return thread.ident in self._callers or thread.name == _NEVER_WAITS or thread is self._thread

    def _weight(self) -> int:
        """Return how many bytes wait; there are seldom any."""
        return sum(map(len, self._pending.copy())) if len(self._pending) > 1 else 0

    # --- write ---

    def _write(self) -> None:
        """Write what there is, as far as the terminal takes it; if another thread does so, it sees to ours."""
        while self._pending or self._unsent or self._is_due:
            terminal = self._terminal
            if terminal is None:
                return
            if not (terminal.never_blocks or threading.current_thread() is self._thread):
                self._bell.put(None)
                return
            if not self._turn.acquire(blocking=False):
                return
            try:
                goes_on = self._terminal is terminal and self._write_some(terminal)
            except (OSError, ValueError):  # the terminal is gone, and its readers with it
                self._pending.clear()
                self._unsent = b""
                self._is_due = self._is_shown = False
                return
            finally:
                self._turn.release()
            if not goes_on:
                return

    def _write_some(self, terminal: Terminal) -> bool:
        if not self._unsent:
            self._unsent = self._next()
        if not self._unsent:
            return bool(self._pending)
        sent = terminal.send(self._unsent)
        self._unsent = self._unsent[sent:]
        return sent > 0

    def _next(self) -> bytes:
        """Return what is to be written now: the lines that wait, and the frame below them if it is time."""
        parts = []
        size = 0
        while self._pending and size < _AT_ONCE:
            parts.append(self._pending.popleft())
            size += len(parts[-1])
        if self._lost and not self._pending:
            lost, self._lost = self._lost, 0
            parts.append(f"pipeloom: the terminal took nothing for a while: {lost:,} lines were lost\n".encode())
        text = b"".join(parts)
        now = monotonic()
        is_wanted = bool(self._sections) and not self._pauses and bool(self._frame)
        is_current = self._room() == self._size
        draws = is_wanted and is_current and (self._is_due or now - self._drawn_at >= _BETWEEN_S)
        if text or (self._is_due and not is_wanted):
            text = _ERASE_BELOW + text if self._is_shown else text
            self._is_shown = False
        elif not self._is_due:
            return b""
        self._is_due = False
        if not draws:
            if is_wanted and not self._is_shown:
                self._bell.put(None)
            return text
        self._drawn_at = now
        self._is_shown = True
        below = len(self._frame)
        return b"%b%b\x1b[%dA\x1b7\x1b[0m\x1b[J%b\x1b8" % (
            text,
            b"\x1bD" * below,
            below,
            b"".join(b"\r\n" + row for row in self._frame),
        )

    # --- draw ---

    def _run(self, terminal: Terminal) -> None:
        """Draw until the last section has left and everything is written; the region's own thread."""
        while not self._has_ended(terminal):
            self._look()
            self._compose()
            self._write()
            self._wait()

    def _wait(self) -> None:
        is_behind = self._unsent or self._pending or (self._sections and not self._is_shown and not self._pauses)
        try:
            self._bell.get(timeout=_RETRY_S if is_behind else _TICK_S)
            if is_behind:
                sleep(_RETRY_S)  # many lines ring often
            while True:
                self._bell.get_nowait()
        except Empty:
            pass

    def _has_ended(self, terminal: Terminal) -> bool:
        with self._guard:
            if self._sections or self._pending or self._unsent or self._is_due:
                return False
            self._release_streams()
            if rest := self._lines.close():
                self._pending.append(rest.encode("utf-8", "surrogateescape"))
                return False
            if not self._turn.acquire(
                blocking=False
            ):  # whoever writes must not find another file behind the number
                return False
            self._thread = self._terminal = None
            terminal.close()
            self._turn.release()
            atexit.unregister(self._end)
            return True

    def _look(self) -> None:
        now = monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            if final := self._lines.look():
                self._pending.append(final.encode("utf-8", "surrogateescape"))

    def _compose(self) -> None:
        """Make the frame of what the sections and the pages of writers show now."""
        room = columns, rows = self._room()
        unfinished: list[bytes] = []
        for row in self._lines.unfinished()[-_MOST_UNFINISHED:]:
            unfinished += self._rows_of(self._screen.lines_of(row), columns)
        frame: list[bytes] = []
        for section in self._sections:
            frame += self._rows_of(section.frame, columns)
        frame = frame[:rows]
        frame = [*unfinished[: rows - len(frame)], *frame]
        if tuple(frame) != self._frame or room != self._size or monotonic() - self._drawn_at >= _REDRAW_S:
            self._frame, self._size, self._is_due = tuple(frame), room, True

    def _rows_of(self, segments: Iterable[Segment], columns: int) -> list[bytes]:
        lines = Segment.split_and_crop_lines(segments, columns, pad=False, include_new_lines=False)
        return [self._screen.encode(line) for line in lines]
