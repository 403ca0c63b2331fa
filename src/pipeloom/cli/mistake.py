"""Where in a user's program an error came from: as one line, or as a traceback without our frames."""

from __future__ import annotations

import linecache
import os
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

import click

import pipeloom
from pipeloom.data.text import clean, near

__all__ = ["notes_of", "place_of", "print_traceback"]

# Code that is of no interest when a program fails: this package, click, and the standard library.
_NOT_THEIRS: Final = tuple(
    os.path.join(directory, "")
    for directory in (
        os.path.dirname(pipeloom.__file__),
        os.path.dirname(click.__file__),
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")),
    )
)
_CALLER: Final = os.path.join(os.path.dirname(pipeloom.__file__), "cli", "run.py")
_INSTALLED: Final = ("site-packages", "dist-packages")


def place_of(error: BaseException) -> str | None:
    """Return file, line, function and source of the innermost frame in the user's code, if any."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        text = error.text or linecache.getline(error.filename, error.lineno)
        return f"{clean(near(error.filename))}:{error.lineno}: {clean(text.strip(), 200)}"
    frames = _users_frames(error.__traceback__)
    own = [frame for frame in frames if not _is_installed(_file(frame))]
    if not frames:
        return None
    frame = (own or frames)[-1]
    line = linecache.getline(_file(frame), frame.tb_lineno).strip()
    name = frame.tb_frame.f_code.co_qualname
    where = "" if name == "<module>" else f" in {clean(name, 100)}"
    return f"{clean(near(_file(frame)))}:{frame.tb_lineno}{where}" + (f": {clean(line, 200)}" if line else "")


def notes_of(error: BaseException) -> list[str]:
    """Return the notes added to an exception, n ≥ 0."""
    notes = getattr(error, "__notes__", None)
    return [str(note) for note in notes] if isinstance(notes, list) else []


def print_traceback(error: BaseException) -> None:
    """Print the traceback on standard error, starting at the first frame in the user's code, if any."""
    first, *_ = *_users_frames(error.__traceback__), error.__traceback__
    traceback.print_exception(type(error), error, first)


def _users_frames(found: TracebackType | None) -> list[TracebackType]:
    """Return the frames of a program called by `pipeloom run`, outermost first."""
    frames: list[TracebackType] = []
    is_called = False
    while found is not None:
        if is_called and _is_users(found):
            frames.append(found)
        is_called = is_called or _file(found) == _CALLER
        found = found.tb_next
    return frames


def _file(frame: TracebackType) -> str:
    return frame.tb_frame.f_code.co_filename


def _is_users(frame: TracebackType) -> bool:
    file = _file(frame)
    if file.startswith("<"):  # <frozen importlib._bootstrap>, <string>
        return False
    # Installed packages are below the standard library's directory, but may be the user's code.
    return not file.startswith(_NOT_THEIRS[:2] if _is_installed(file) else _NOT_THEIRS)


def _is_installed(file: str) -> bool:
    return any(part in _INSTALLED for part in Path(file).parts)
