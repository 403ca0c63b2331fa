"""Programs on a real pseudo-terminal, and what they leave on its screen."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import pyte

__all__ = ["LIMIT_S", "PseudoTerminal"]

LIMIT_S = 30.0  # how long anything may take before it counts as hanging


class PseudoTerminal:
    """A program that has this terminal for itself; a context manager that kills what still runs.

    Args:
        command: Program and arguments.
        columns: Width.
        rows: Height.
        cwd: Where it runs.
        env: More environment variables.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.raw = bytearray()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        # Its other side stays open here: what modes the program left can still be asked, and nothing is lost.
        self._ours, self._theirs = os.openpty()
        self._set_size(columns, rows)
        self.modes_before = self.modes()
        began_with = os.environ | {"TERM": "xterm-256color"} | dict(env or {})
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            if name not in (env or {}):
                began_with.pop(name, None)
        self.process = subprocess.Popen(
            list(command),
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            cwd=cwd,
            env=began_with,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C and Ctrl-Z are signals
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def lines(self) -> list[str]:
        """The screen as it stands, row by row."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The screen as it stands."""
        return "\n".join(self.lines)

    def modes(self) -> list[Any]:
        """Return the terminal's modes (echo, line editing, …) as they are now."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window does; the screen is then drawn on by whoever notices."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def until(self, seen: str | Callable[[str], bool], limit_s: float = LIMIT_S) -> str:
        """Read until the screen shows a text, or meets a condition; return the screen.

        Raises:
            AssertionError: It does not within the limit, or the program ends before.
        """
        met = (lambda text: seen in text) if isinstance(seen, str) else seen
        deadline = monotonic() + limit_s
        while not met(self.text):
            ended = self.process.poll() is not None
            assert self.read(0.05) or not ended, f"ended before {seen!r} was seen:\n{self.text}"
            assert monotonic() < deadline, f"not seen in {limit_s} s: {seen!r}\n{self.text}"
        return self.text

    def finish(self, limit_s: float = LIMIT_S) -> int:
        """Read until the program ends; return its exit code.

        Raises:
            AssertionError: It does not end within the limit.
        """
        deadline = monotonic() + limit_s
        while self.process.poll() is None:
            self.read(0.05)
            assert monotonic() < deadline, f"still running after {limit_s} s:\n{self.text}"
        while self.read(0.0):
            pass
        return self.process.returncode

    def read(self, wait_s: float) -> bool:
        """Wait for a piece of output, but no longer than this; say whether there was one."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return False
        piece = os.read(self._ours, 65536)
        self.raw += piece
        self._stream.feed(piece)
        return bool(piece)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
