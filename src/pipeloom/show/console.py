"""The one shared console, and the one live region on it.

The console writes to standard error, so that a program's own output can be piped; two consoles on one terminal
would fight over the cursor.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from time import monotonic
from typing import IO, Any, Final, Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.errors import LiveError
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import Segment, Segments

from pipeloom.show.streams import release_stderr, same_terminal

__all__ = ["Region", "Section", "SharedConsole", "console"]


class _StandardError:
    """Standard error as the console writes to it: with nobody there to read, what is said is dropped."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:  # a stream of the user's that lacks a letter
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                return self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):  # the latter when somebody has closed it
            release_stderr()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            release_stderr()


class SharedConsole(Console):
    """A console on standard error on which threads take turns.

    To print above a display, Rich notes its height, draws, and then writes, and holds the display's lock only for
    the first of these: two threads that do so at once erase each other's lines when the height has changed. And
    each display has a lock of its own, taken before or after another's, depending on which was started first. So
    there is one lock for all displays on this console, and whoever prints holds it until it is written.
    """

    def __init__(self) -> None:
        super().__init__(stderr=True)
        self._turn = threading.RLock()  # before any other lock of the console or a display
        self.region = Region(self)

    @property
    def file(self) -> IO[str]:
        """Where it writes."""
        file = super().file
        return file if self._file is not None else _StandardError(file)  # type: ignore[return-value]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def set_live(self, live: Live) -> bool:
        """Let a display begin; called by Rich.

        Raises:
            LiveError: Another display is up, and the region does not go into it.
        """
        with self._turn:
            if self._live_stack and isinstance(live, _RegionDisplay):
                raise LiveError("another live display has the terminal")
            live._lock = self._turn  # noqa: SLF001 - Rich has no other way to share one lock among displays
            return super().set_live(live)

    def clear_live(self) -> None:
        """Forget a display that has ended; called by Rich, which would forget the one that began last.

        The first one stays until the others have ended: they draw themselves within it.
        """
        with self._turn:
            first, *others = self._live_stack
            going_on = [live for live in others if live.is_started]
            self._live_stack[:] = [first, *going_on] if going_on or first.is_started else []

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does, which looks for displays before it waits for its turn; any thread."""
        with self:
            super().print(*objects, **options)

    def log(self, *objects: Any, _stack_offset: int = 1, **options: Any) -> None:
        """Log as Rich does; any thread."""
        with self:
            super().log(*objects, _stack_offset=_stack_offset + 1, **options)

    def __enter__(self) -> Self:
        """Wait for this thread's turn; everything that is printed passes through here."""
        self._turn.acquire()
        super().__enter__()
        return self

    def __exit__(self, *of: object) -> None:
        try:
            super().__exit__(*of)
        finally:
            self._turn.release()


class Section(Protocol):
    """What one run shows in the region, rendered, since every line that is printed draws all of it again.

    Replaced as a whole, since any thread may draw it.
    """

    frame: Sequence[Segment]


class _RegionDisplay(Live):
    """Rich's display of the region."""


class Region:
    """The one live region of the shared console: a section for each run of this process, one below the other.

    Any thread may call any method. A section is rendered without a lock, and only drawn under one.
    """

    def __init__(self, console: SharedConsole) -> None:
        self._console = console
        self._lock = threading.Lock()  # taken before the console's turn, by those who come and go
        self._display: Live | None = None
        self._sections: tuple[Section, ...] = ()
        self._drawn_at = 0.0

    @property
    def height(self) -> int:
        """How many rows each section may have."""
        return max(self._console.height // max(len(self._sections), 1), 1)

    def join(self, section: Section) -> None:
        """Show a section until it leaves.

        Raises:
            LiveError: A display of somebody else's is up on this console.
        """
        with self._lock:
            if self._display is not None:
                self._sections += (section,)
                return
            display = _RegionDisplay(
                self,
                console=self._console,
                auto_refresh=False,
                vertical_overflow="crop",
                # What tasks print is drawn above the region if it would appear there anyway; a file gets it.
                redirect_stdout=same_terminal(sys.stdout, self._console.file),
            )
            self._sections = (section,)
            try:
                display.start(refresh=True)
            except BaseException:
                self._sections = ()
                raise
            self._display = display

    def draw(self, every_s: float) -> None:
        """Draw all sections as they are now, unless another run has done so within the last ``every_s`` seconds.

        Drawing takes milliseconds, during which nobody else can print: it must not grow with the number of runs.
        """
        now = monotonic()
        if self._display is not None and now - self._drawn_at >= every_s:
            self._drawn_at = now
            self._display.refresh()

    def leave(self, section: Section) -> None:
        """Let a section stand as it is now, above those that go on; leaving twice is fine."""
        with self._lock:
            rest = tuple(other for other in self._sections if other is not section)
            if self._display is None or len(rest) == len(self._sections):
                return
            if rest:
                self._sections = rest
                self._console.print(Segments(section.frame), end="")
                return
            display, self._display = self._display, None
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, FileProxy):
                    stream.flush()  # a line that was begun; Rich would drop it
            try:
                display.stop()
            finally:
                self._sections = ()

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        for section in self._sections:
            yield from section.frame


console: Final = SharedConsole()
