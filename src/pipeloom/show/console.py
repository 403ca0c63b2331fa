"""The shared console, and the Rich displays that appear in its live region.

The console writes to standard error, so that a program's own output can be piped. On a terminal, every display on
it, such as the bars of ``make_overall_progress()``, is a section of the live region: Rich only renders it. Since
one component does all the drawing, displays may start and end in any thread and any order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.errors import LiveError
from rich.protocol import rich_cast
from rich.text import Text

from pipeloom.show.region import Region
from pipeloom.show.streams import release_stderr

if TYPE_CHECKING:
    from rich.live import Live
    from rich.segment import Segment

__all__ = ["SharedConsole", "console"]


class _StandardError:
    """Standard error for the console; text is dropped once the stream has no reader."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            try:
                return self._stream.write(text)
            except UnicodeEncodeError:  # a user's stream that cannot encode a character
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                return self._stream.write(_in(encoding, text).decode(encoding))
        except (OSError, ValueError):  # ValueError: the stream was closed
            release_stderr()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            release_stderr()


class _DisplaySection:
    """A Rich display in the region, rendered for each frame in the region's thread."""

    def __init__(self, display: Live, on: Console) -> None:
        self.display = display
        self._console = on

    @property
    def frame(self) -> Sequence[Segment]:
        """Its current lines."""
        try:
            return list(self._console.render(self.display.get_renderable()))
        except Exception:  # noqa: BLE001 - foreign code: Rich raises it where the display was started, when that ends
            return ()


class SharedConsole(Console):
    """A console on standard error whose displays are sections of one live region."""

    def __init__(self) -> None:
        super().__init__(stderr=True)
        self.region = Region(self)
        self._displays: tuple[_DisplaySection, ...] = ()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a forked child: other threads may have held these locks, and do not exist here to release them."""
        self._lock = threading.RLock()
        self._displays = ()
        self.region.forget()

    @property
    def file(self) -> IO[str]:
        """The stream that it writes to."""
        file = super().file
        return file if self._file is not None else _StandardError(file)  # type: ignore[return-value]

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def print(self, *objects: Any, soft_wrap: bool | None = None, **options: Any) -> None:
        """Print as Rich does; text that does not go to a terminal is not wrapped, so that it can be searched."""
        if soft_wrap is None and not self.is_terminal and not self.is_jupyter:
            soft_wrap = all(isinstance(rich_cast(one), str | Text) for one in objects) or None
        super().print(*objects, soft_wrap=soft_wrap, **options)

    @property
    def has_region(self) -> bool:
        """Whether the console can redraw what it shows."""
        return self.is_terminal and not self.is_dumb_terminal and not self.is_jupyter

    def set_live(self, live: Live) -> bool:
        """Start a display; called by Rich. A display that gets ``False`` draws nothing itself.

        A display on the whole screen (``screen=True``) draws itself, and the region is hidden.
        """
        if live._screen and not self._live_stack:  # noqa: SLF001 - Rich does not expose it
            self.region.pause()
        elif self.has_region and not self._live_stack:
            section = _DisplaySection(live, self)
            try:
                self.region.join(section)
            except LiveError:
                pass
            else:
                with self._lock:
                    self._displays += (section,)
                return False
        return super().set_live(live)

    def clear_live(self) -> None:
        """Forget the displays that have ended; called by Rich, which would forget the last one to start."""
        with self._lock:
            ended = [section for section in self._displays if not section.display.is_started]
            self._displays = tuple(section for section in self._displays if section not in ended)
        for section in ended:
            self.region.show_now()  # its final state, even if it was on screen only briefly
            self.region.leave(section)
        if not ended and self._live_stack:
            self._clear_own()

    def _clear_own(self) -> None:
        """Forget displays that draw themselves; the first one draws the others, and stays until they have ended."""
        first, *others = self._live_stack
        going_on = [live for live in others if live.is_started]
        if going_on or first.is_started:
            self._live_stack[:] = [first, *going_on]
            return
        self._live_stack.clear()
        if first._screen:  # noqa: SLF001 - as above
            self.region.resume()

    def lines_of(self, text: str) -> Sequence[Segment]:
        """Return text with colours as segments, for the region."""
        return list(self.render(Text.from_ansi(text)))

    def encode(self, segments: Iterable[Segment]) -> bytes:
        """Return segments encoded for the terminal, for the region."""
        return _in(self.encoding, self._render_buffer(segments))


_SIGNS: Final = str.maketrans("━─▸✗…·↻\N{MULTIPLICATION SIGN}", "=->x~|rx")  # one for one: same width


def _in(encoding: str, text: str) -> bytes:
    """Return text for a stream that may lack characters: other signs for ours, escapes for the rest."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_SIGNS).encode(encoding, "backslashreplace")


console: Final = SharedConsole()
