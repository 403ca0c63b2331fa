"""Take over the terminal (alternate screen, single keys), and restore it however the program ends."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Sequence
from time import monotonic, sleep
from types import FrameType, TracebackType
from typing import Any, Final, Self, TextIO

from rich.console import Console
from rich.text import Text

from pipeloom.cli.watching.keys import KeyReader

try:
    import termios
    import tty
except ImportError:  # Windows, untested there: no keys, Ctrl-C ends
    _HAS_MODES = False
else:
    _HAS_MODES = True

__all__ = ["Ended", "Terminal"]

_TAKE: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"  # alternate screen, no cursor, clear
_GIVE_BACK: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
_ESCAPE_S: Final = 0.05  # longest wait for the rest of a sequence
_ENDS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)


class Ended(BaseException):
    """A signal asked the program to end; the terminal is already restored.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Terminal:
    """The terminal of this process, as a context manager; for the main thread, since it handles signals.

    Inside the block SIGINT, SIGTERM, SIGHUP and SIGQUIT restore the terminal and raise :class:`Ended`. Ctrl-Z
    restores it and stops the process; the screen is taken over again when the process continues.

    Args:
        out: Where to draw; a terminal.
        keys: Where keys come from; without a terminal there are no keys.
    """

    def __init__(self, out: TextIO | None = None, keys: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        watcher = sys.stdin if keys is None else keys
        self._keys = watcher.fileno() if watcher is not None and watcher.isatty() and _HAS_MODES else None
        # Rich detects colours and turns styled text into escape sequences; it never writes to the terminal.
        self._console = Console(file=self._out, width=10_000, height=100, highlight=False, soft_wrap=True)
        self._reader = KeyReader()
        self._modes: list[Any] | None = None
        self._before: dict[int, Any] = {}
        self._taken = False
        self._times_taken = 0
        self._shown: list[Text] = []
        self._size = (0, 0)

    @property
    def has_keys(self) -> bool:
        """Whether keys can be read at all."""
        return self._keys is not None

    def size(self) -> tuple[int, int]:
        """Return columns and rows as they are now."""
        try:
            columns, rows = os.get_terminal_size(self._out.fileno())
        except OSError:
            columns, rows = 0, 0
        return columns or 80, rows or 24

    # --- take over and restore ---

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._modes = termios.tcgetattr(self._keys)
        try:
            for number in _ENDS:
                self._handle(number, self._end)
            for name, handler in (("SIGTSTP", self._stop), ("SIGCONT", self._go_on)):
                if hasattr(signal, name):
                    self._handle(getattr(signal, name), handler)
            self._take()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._close()

    def _handle(self, number: int, handler: Any) -> None:
        if signal.getsignal(number) is not signal.SIG_IGN:  # set by nohup, for example: keep ignoring it
            self._before[number] = signal.signal(number, handler)

    def _close(self) -> None:
        self._give_back()
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def _take(self) -> None:
        self._taken = True
        self._times_taken += 1
        self._shown = []
        if self._keys is not None:
            _patiently(lambda fd: tty.setcbreak(fd, termios.TCSADRAIN), self._keys)
        self._write(_TAKE)

    def _give_back(self) -> None:
        """Restore the terminal; repeating is fine, and so is a terminal that is gone."""
        if not self._taken:
            return
        self._taken = False
        try:
            self._write(_GIVE_BACK)
        except OSError:
            pass
        if self._keys is not None and self._modes is not None:
            modes = self._modes
            try:
                _patiently(lambda fd: termios.tcsetattr(fd, termios.TCSADRAIN, modes), self._keys)
            except termios.error:
                pass

    # --- signals ---

    def _end(self, number: int, _frame: FrameType | None) -> None:
        for each in _ENDS:  # a second signal must not interrupt the handling of the first
            if each in self._before:
                signal.signal(each, signal.SIG_IGN)
        self._give_back()
        raise Ended(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        handler = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # the process stops here, and later continues here
        signal.signal(number, handler)
        self._take()

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        """Redraw after SIGSTOP, which cannot be handled: the shell has drawn over the screen."""
        if self._taken:
            self._take()

    # --- drawing ---

    def show(self, lines: Sequence[Text]) -> None:
        """Draw these lines from the top, writing only those that changed.

        Raises:
            OSError: The terminal is gone.
        """
        size = self.size()
        rows = size[1]
        pieces = []
        if size != self._size or not self._shown:
            self._size, self._shown = size, []
            pieces.append("\x1b[0m\x1b[2J")
        lines = lines[:rows]
        blank, times = Text(), self._times_taken
        for row in range(max(len(lines), len(self._shown))):
            line = lines[row] if row < len(lines) else blank
            if row < len(self._shown) and self._shown[row] == line:
                continue
            with self._console.capture() as capture:
                self._console.print(line, end="", soft_wrap=True)
            # Clear the row before writing: clearing after the last column is filled would erase that cell.
            pieces.append(f"\x1b[{row + 1};1H\x1b[2K{capture.get()}")
        if pieces:
            self._write("".join(pieces))
        if times == self._times_taken:  # otherwise a stop interrupted the write, and the screen is blank
            self._shown = list(lines) or [blank]

    def redraw(self) -> None:
        """Redraw everything the next time."""
        self._shown = []

    def _write(self, text: str) -> None:
        """Write without Python's buffer, which a signal handler must not enter while it is in use."""
        data = text.encode(self._out.encoding or "utf-8", "replace")
        descriptor = self._out.fileno()
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # another program made this terminal non-blocking
                select.select([], [descriptor], [], 1.0)

    # --- keys ---

    def keys(self, timeout_s: float) -> list[str]:
        """Wait for keys, at most this long; return them, oldest first.

        Raises:
            OSError: The terminal is gone.
        """
        if self._keys is None:
            sleep(timeout_s)
            return []
        until = monotonic() + timeout_s
        keys: list[str] = []
        while not keys:
            left = min(_ESCAPE_S, timeout_s) if self._reader.waiting else max(until - monotonic(), 0.0)
            if select.select([self._keys], [], [], left)[0]:
                data = os.read(self._keys, 4096)
                if not data:
                    raise OSError(errno.EIO, "the terminal is gone")
                keys += self._reader.feed(data)
            elif self._reader.waiting:
                keys += self._reader.flush()
                if not keys:
                    return []
            else:
                return []
        return keys


def _patiently(change: Any, descriptor: int) -> None:
    """Change a terminal's modes, retrying when a signal interrupts it (SIGCONT after SIGTTOU)."""
    while True:
        try:
            change(descriptor)
        except termios.error as error:
            if error.args[0] != errno.EINTR:
                raise
        else:
            return
