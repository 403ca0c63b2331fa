"""Describes how a worker process ended and where its task was, from the output of Python's faulthandler."""

from __future__ import annotations

import re
import signal
from typing import Final

from pipeloom.data.text import clean
from pipeloom.errors import WorkerDiedError
from pipeloom.worker.perform import perform

__all__ = ["death", "frames_of", "how_it_ended"]

_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_FAULT: Final = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)
_OURS: Final = perform.__code__.co_filename


def frames_of(words: str) -> str:
    """Return the frames of the task's own code, the innermost last; empty if there are none.

    Args:
        words: What faulthandler wrote about the task's thread, the innermost frame first.
    """
    frames = []
    for file, line, name in _FRAME.findall(words):
        if file == _OURS:
            break
        frames.append(f'  File "{file}", line {line}, in {name}\n')
    return "".join(reversed(frames))


def death(code: int, words: str, reason: Exception | None) -> tuple[Exception, str]:
    """Return the error and the traceback of a task whose process died.

    Args:
        code: The exit code of the process, or, below 0, minus the number of the signal that ended it.
        words: What faulthandler wrote.
        reason: Why the run killed it, if it did.
    """
    how = how_it_ended(code)
    if (fault := _FAULT.search(words)) is not None:
        how += f" ({clean(fault[1], 200)})"
    error = reason or WorkerDiedError(
        f"its worker process {how}",
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
    )
    frames = frames_of(words)
    where = f"Its process was here when it died:\n{frames}" if frames else ""
    return error, f"{where}{type(error).__name__}: {error}\n"


def how_it_ended(code: int) -> str:
    """Return how a process ended, as a phrase that follows its name."""
    if code >= 0:
        return f"exited with {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"
