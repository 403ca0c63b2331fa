"""Where a task was when its process was ended: what Python's faulthandler has written, as a traceback reads."""

from __future__ import annotations

import re
from typing import Final

from pipeloom.worker.perform import perform

__all__ = ["fault_in", "frames_of"]

_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_FAULT: Final = re.compile(r"^Fatal Python error: (.*)$", re.MULTILINE)
_OURS: Final = perform.__code__.co_filename


def frames_of(words: str) -> str:
    """Return the frames of the task's own code, the innermost last; empty when there are none.

    Args:
        words: What faulthandler wrote, of the thread that the task is in: the innermost frame comes first.
    """
    frames = []
    for file, line, name in _FRAME.findall(words):
        if file == _OURS:
            break
        frames.append(f'  File "{file}", line {line}, in {name}\n')
    return "".join(reversed(frames))


def fault_in(words: str) -> str | None:
    """Return what Python calls the fault, such as ``Segmentation fault``; ``None`` when it did not say."""
    found = _FAULT.search(words)
    return None if found is None else found[1]
