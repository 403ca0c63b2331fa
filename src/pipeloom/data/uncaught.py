"""What happens to a script that does not catch an interruption: one line, and the exit code of its signal.

Python prints a traceback for a subclass of ``KeyboardInterrupt`` and exits with 1. ``sys.excepthook`` is therefore
wrapped while such an error exists, and no longer: a program that catches the error finds its own hook again.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pipeloom.data.text import clean_block
from pipeloom.errors import RunInterruptedError

__all__ = ["prepare"]


def prepare(error: RunInterruptedError) -> None:
    """Make the program end properly if an error that is about to be raised is not caught; any thread."""
    hook = sys.excepthook
    if not isinstance(hook, _Hook):
        hook = _Hook(hook)
    hook.stay_for(error)
    sys.excepthook = hook


class _Hook:
    """Wraps the existing hook, and passes all other errors to it, as long as an interruption error exists.

    If the user has set a hook, it is called instead of writing the line. At a prompt the program does not end.
    """

    def __init__(self, around: Callable[..., Any]) -> None:
        self._around = around
        self._alive: set[weakref.ref[RunInterruptedError]] = set()

    def stay_for(self, error: RunInterruptedError) -> None:
        self._alive.add(weakref.ref(error, self._step_aside))

    def _step_aside(self, gone: weakref.ref[RunInterruptedError]) -> None:
        self._alive.discard(gone)
        if not self._alive and sys.excepthook is self:
            sys.excepthook = self._around

    def __call__(self, kind: type[BaseException], error: BaseException, where: TracebackType | None) -> Any:
        if not isinstance(error, RunInterruptedError):
            return self._around(kind, error, where)
        if self._around is sys.__excepthook__:
            _say(f"pipeloom: {clean_block(str(error))}")
        else:
            self._around(kind, error, where)
        if not (hasattr(sys, "ps1") or sys.flags.interactive):
            raise SystemExit(error.exit_code)  # from here the interpreter exits, with atexit handlers
        return None


def _say(line: str) -> None:
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # stderr is not read, is closed or never existed; the exit code still says what happened
