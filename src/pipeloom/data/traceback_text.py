"""Parse the text of a traceback: the exception, the place in the user's own code, and the most useful lines.

The text may come from another machine or another version, or may be invented.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

__all__ = ["essence", "is_theirs", "origin"]

_FRAME: Final = re.compile(r'^[ |+-]*File "(?P<file>.+?)", line (?P<line>\d+)(?P<in>, in .+)$', re.MULTILINE)
# A notebook's code has a different file name in each session and after each change.
_CELL: Final = re.compile(r"^(?:.*[\\/]ipykernel_\d+[\\/]\d+\.py|<ipython-input-.*>)$")
_TYPE: Final = re.compile(r"(?:[^\W\d]\w*\.|<locals>\.)*[^\W\d]\w*")
_LIBRARY: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:64)?[\\/]python\d[^\\/]*[\\/]|^<frozen")


def essence(traceback: str, limit: int = 6) -> list[str]:
    """Return the most useful lines of a traceback: the last place in the user's own code, and the end.

    Args:
        traceback: As Python prints it.
        limit: The approximate maximum number of lines; a cut is marked by ``…``.
    """
    lines = traceback.rstrip().split("\n")
    files = {place: frame["file"] for place, line in enumerate(lines) if (frame := _FRAME.match(line))}
    if not files:
        return lines if len(lines) <= limit else [*lines[: limit - 1], "…"]
    last = max(files)
    begin = max((place for place, file in files.items() if is_theirs(file)), default=last)
    end = next((place for place in range(begin + 1, len(lines)) if not lines[place][:4].isspace()), len(lines))
    after = next((place for place in range(last + 1, len(lines)) if not lines[place][:1].isspace()), end)
    said = lines[after:]
    if len(said) > limit - 2:
        said = [*said[: limit - 3], "…"]
    return [*lines[begin:end], *(["  …"] if last > begin else []), *said]


def origin(traceback: str, *, cut: bool) -> tuple[str | None, str | None]:
    """Return (exception type, ``file:line in function``) of a traceback.

    The place is the last one in the user's own code, or the last one of all if there is none there.

    Args:
        traceback: As Python prints it.
        cut: It ends right before the colon and the message.
    """
    frames = list(_FRAME.finditer(traceback))
    theirs = [frame for frame in frames if is_theirs(frame["file"])] or frames
    where = None
    if theirs:
        frame = theirs[-1]
        where = f"{_CELL.sub('<cell>', frame['file'])}:{frame['line']}{frame['in'][1:]}"
    lines = traceback[frames[-1].end() if frames else 0 :].split("\n")
    # Source lines are indented, the last line is not; in an exception group all lines begin with a bar.
    for line in [lines[-1].strip(" |")] if cut else lines:
        name = line.partition(":")[0]
        if _TYPE.fullmatch(name):
            return name.removeprefix("__mp_main__."), where  # worker processes name the main program differently
    return None, where


def is_theirs(file: str) -> bool:
    """Return whether a file in a traceback is the user's own: neither part of a library nor of pipeloom.

    The examples count as users' programs: there pipeloom is on the path, but not installed.
    """
    return not (_LIBRARY.search(file) or _ours().search(file))


@cache
def _ours() -> re.Pattern[str]:
    """Return the pattern of pipeloom's own files, in any directory: the ledger may come from another machine.

    Only existing file names are ours, since a user's project may be called pipeloom, too.
    """
    inside = [
        rf"{module.name}[\\/].+" if module.ispkg else rf"{module.name}\.py"
        for module in iter_modules([str(Path(__file__).parent.parent)])
        if module.name != "examples"
    ]
    return re.compile(rf"[\\/]pipeloom[\\/](?:{'|'.join(inside)}|__init__\.py)$")
