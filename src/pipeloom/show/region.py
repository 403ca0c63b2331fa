r"""The live region of the shared console: sections of runs and of Rich's displays, one below the other.

::

    line of output           the cursor rests at the start of an empty row, where the next line of output belongs.
    █                        Output that bypasses the region, such as that of a subprocess, appears
    load  ━━━━━  34/40       there and scrolls as usual, and the next frame begins below it.
      33 done · 1 failed

A frame is drawn in one write: make room below, save the cursor, erase below, write the rows, restore the cursor. So
    the region's position never needs to be known, the region recovers after a change of size or a stop (Ctrl-Z),
    and a killed process leaves nothing to restore: the cursor is never hidden.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import IO, Final, Protocol

from rich.errors import LiveError
from rich.segment import Segment

from pipeloom.data.text import describe
from pipeloom.show.catching import CaughtStream, streams_on
from pipeloom.show.lines import Lines
from pipeloom.show.outlet import RETRY_S, Outlet
from pipeloom.show.terminal import Terminal

__all__ = ["Region", "Section"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1  # between two looks at the sections
_REDRAW_S: Final = 0.25  # between two identical frames, in case another program has overwritten the first
_LOOK_S: Final = 0.3  # how long a bar must stay unchanged to be final
_PAUSE_S: Final = 0.2  # how long a run that is being paused waits for the terminal
_AT_THE_END_S: Final = 1.0  # how long a run that has ended waits for it
_MOST_UNFINISHED: Final = 8  # rows
_WRITER: Final = "pipeloom-writer"  # the name of the writer's thread, which must not wait for a terminal


class Section(Protocol):
    """What one run shows in the region: rendered lines. Replaced as a whole, since another thread reads it."""

    @property
    def frame(self) -> Sequence[Segment]:
        """The lines, each with its line end except the last."""


class Screen(Protocol):
    """What the region needs from its console."""

    @property
    def file(self) -> IO[str]:
        """The stream that it writes to."""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""

    def lines_of(self, text: str) -> Sequence[Segment]:
        """Return text with colours as segments."""

    def encode(self, segments: Iterable[Segment]) -> bytes:
        """Return segments encoded for the terminal."""


class Region:
    """The live region; any thread may call any method.

    Args:
        screen: Its console.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._caught: Sequence[CaughtStream] = ()
        self._is_over = False  # the interpreter is ending
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Set the initial state; also in a forked child, where missing threads may hold the locks."""
        self._guard = threading.Lock()  # for joining and leaving; never held during a write
        self._sections: tuple[Section, ...] = ()
        self._callers: tuple[int, ...] = ()  # the threads that wait for runs
        self._thread: threading.Thread | None = None
        self._outlet: Outlet | None = None
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._lines = Lines()
        self._awaited: list[threading.Event] = []
        self._frame: list[bytes] = []
        self._room = (0, 0)
        self._pauses = 0
        self._looked_at = 0.0
        self._is_faulty = False

    def forget(self) -> None:
        """Leave the region to the parent, in a forked child. Its streams stay caught and pass text on."""
        if self._outlet is not None:
            self._outlet.abandon()
        self._begin_anew()

    # --- join and leave ---

    @property
    def size(self) -> tuple[int, int]:
        """The columns and rows available to each section."""
        outlet = self._outlet
        columns, rows = self._screen.size if outlet is None else outlet.room()
        return columns, max(rows // max(len(self._sections), 1), 1)

    def join(self, section: Section, *, waits: bool = False) -> None:
        """Show a section until it leaves.

        Args:
            section: The section.
            waits: Whether this thread waits for a run, and so must never wait for the terminal.

        Raises:
            LiveError: No terminal can show it.
        """
        with self._guard:
            if self._outlet is None:
                self._open()
            elif not self._caught:  # it was about to end
                self._catch_streams(self._outlet)
            self._sections += (section,)
            if waits:
                self._callers += (threading.get_ident(),)
        self._call()

    def _open(self) -> None:
        if self._is_over:
            raise LiveError("the interpreter is ending")
        self._release_streams()  # in a forked child, the parent's
        terminal = Terminal.of(self._screen.file)
        if terminal is None:
            raise LiveError("standard error is not a terminal")
        outlet = Outlet(terminal, lambda: self._screen.size, self._call, self._may_wait)
        outlet.hide(self._pauses > 0)
        self._catch_streams(outlet)
        thread = threading.Thread(target=self._run, args=(outlet,), name="pipeloom-screen", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._release_streams()
            outlet.close()
            raise LiveError("no thread can be started to draw") from error
        self._outlet, self._thread = outlet, thread
        atexit.register(self._end)

    def _catch_streams(self, outlet: Outlet) -> None:
        self._caught = [CaughtStream(stream, self._lines, outlet.say) for stream in streams_on(self._screen.file)]

    def _release_streams(self) -> None:
        caught, self._caught = self._caught, ()
        for stream in caught:
            stream.release()

    def _call(self) -> None:
        self._bell.put(None)

    def _may_wait(self) -> bool:
        thread = threading.current_thread()
        return not (thread.ident in self._callers or thread.name == _WRITER or thread is self._thread)

    def leave(self, section: Section, last: Sequence[Segment] = ()) -> None:
        """Remove a section; its last state, if any, stays as lines. Leaving twice is fine.

        The last section to leave waits until everything is written, but at most a second.
        """
        with self._guard:
            rest = tuple(other for other in self._sections if other is not section)
            outlet, thread = self._outlet, self._thread
            if outlet is None or thread is None or len(rest) == len(self._sections):
                return
            if not rest:
                outlet.add(_encoded(self._lines.close()))
            columns, _ = outlet.room()
            if last:
                outlet.add(_on_a_new_row(columns) + b"".join(row + b"\n" for row in self._rows_of(last, columns)))
            self._sections = rest
            callers = list(self._callers)
            if threading.get_ident() in callers:
                callers.remove(threading.get_ident())
            self._callers = tuple(callers)
        if not rest:
            outlet.show((), (0, 0))
        self._call()  # not written here: this thread must not wait
        if not rest:
            thread.join(_AT_THE_END_S)

    def _end(self) -> None:
        """Leave a clean terminal if the interpreter ends before a run in a daemon thread does."""
        self._is_over = True
        outlet = self._outlet
        if outlet is not None:
            outlet.add(_encoded(self._lines.close()))
            outlet.hide(True)
            outlet.settle(_AT_THE_END_S)
        self._release_streams()

    # --- pause and resume ---

    def pause(self) -> None:
        """Remove the frame from the terminal, for example before the process is stopped; waits at most 0.2 s."""
        self._pauses += 1
        if (outlet := self._outlet) is not None:
            outlet.hide(True)
            outlet.settle(_PAUSE_S)

    def resume(self) -> None:
        """Show the frame again, once every pause has been resumed."""
        self._pauses = max(self._pauses - 1, 0)
        if (outlet := self._outlet) is not None and not self._pauses:
            outlet.hide(False)
            self._call()

    def show_now(self) -> None:
        """Draw all sections in their current state; waits until that is done, at most 0.2 s."""
        if self._outlet is not None:
            done = threading.Event()
            self._awaited.append(done)
            self._call()
            done.wait(_PAUSE_S)

    def say(self, lines: bytes) -> None:
        """Write whole lines above the sections, in the thread of one of them; does not wait for the terminal."""
        if (outlet := self._outlet) is not None:
            outlet.say(_on_a_new_row(outlet.room()[0]) + lines)

    # --- draw ---

    def _run(self, outlet: Outlet) -> None:
        """Draw until the last section has left and everything is written; the region's own thread."""
        while not self._has_ended(outlet):
            awaited, self._awaited = self._awaited, []
            try:
                self._look(outlet)
                self._compose(outlet)
            except Exception as error:  # noqa: BLE001 - a fault of the screen must not end a run or lose a line
                outlet.show((), (0, 0))
                self._say_why(error)
            outlet.draw()
            for done in awaited:
                done.set()
            self._wait(outlet)

    def _say_why(self, error: Exception) -> None:
        if not self._is_faulty:
            self._is_faulty = True
            logger.warning("the live screen cannot be drawn, the run continues: %s", describe(error))

    def _wait(self, outlet: Outlet) -> None:
        is_behind = outlet.is_behind
        if not (self._sections or is_behind):
            sleep(RETRY_S / 4)  # another thread may be writing the last of it
            return
        try:
            self._bell.get(timeout=RETRY_S if is_behind else _TICK_S)
            if is_behind:
                sleep(RETRY_S)  # many lines ring the bell often
            while True:
                self._bell.get_nowait()
        except Empty:
            pass

    def _has_ended(self, outlet: Outlet) -> bool:
        with self._guard:
            if (
                self._sections or outlet.is_behind or outlet.has_frame
            ):  # a frame made just before the last section left
                return False
            self._release_streams()
            outlet.add(_encoded(self._lines.close()))
            if not outlet.close():
                return False
            self._outlet = self._thread = None
            atexit.unregister(self._end)
            return True

    def _look(self, outlet: Outlet) -> None:
        now = monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            outlet.add(_encoded(self._lines.look()))

    def _compose(self, outlet: Outlet) -> None:
        """Make the frame from what the sections and the writers' pages show now."""
        room = columns, rows = outlet.room()
        frame: list[bytes] = []
        for section in self._sections:
            frame += self._rows_of(section.frame, columns)
        frame = frame[:rows]
        unfinished: list[bytes] = []
        for row in self._lines.unfinished()[-_MOST_UNFINISHED:] if frame else ():
            unfinished += self._rows_of(self._screen.lines_of(row), columns)
        frame = [*unfinished[: rows - len(frame)], *frame]
        if frame != self._frame or room != self._room or monotonic() - outlet.drawn_at >= _REDRAW_S:
            self._frame, self._room = frame, room
            outlet.show(frame, room)

    def _rows_of(self, segments: Iterable[Segment], columns: int) -> list[bytes]:
        lines = Segment.split_and_crop_lines(segments, columns, pad=False, include_new_lines=False)
        return [self._screen.encode(line) for line in lines]


def _on_a_new_row(columns: int) -> bytes:
    """Return what moves to the next row unless the cursor is at the start of one: after ``^C``, or half a line."""
    return b" " * columns + b"\r\x1b[K"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
