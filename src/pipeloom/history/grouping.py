"""What failed in the same way: failures are grouped by exception, place, and what their messages have in common.

Works on one failure at a time and keeps one record per group: a million failures take no more memory than the
groups they fall into, and those are bounded too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pkgutil import iter_modules
from typing import Any, Final

import pipeloom
from pipeloom.history.columns import text
from pipeloom.statuses import INTERRUPTED, NEVER_BEGAN, PROCESS_ENDED

__all__ = ["Group", "Groups", "essence", "folded", "is_theirs", "origin"]

_DIGITS: Final = str.maketrans("123456789", "0" * 9)
_GROUPS: Final = 2000  # distinct ones; past that, what differs only in its message is one
_ORIGINS: Final = 1000
_MESSAGES: Final = 10_000
_RUNS: Final = 20
_MESSAGE: Final = 300  # characters that are compared

_FRAME: Final = re.compile(r'^[ |+-]*File "(?P<file>.+?)", line (?P<line>\d+)(?P<in>, in .+)$', re.MULTILINE)
_TYPE: Final = re.compile(r"(?:[^\W\d]\w*\.|<locals>\.)*[^\W\d]\w*")
_LIBRARY: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:64)?[\\/]python\d[^\\/]*[\\/]|^<frozen")
# What tells one failure from its like: quoted parts, addresses, paths, hexadecimal and decimal numbers.
_PARTICULAR: Final = re.compile(
    r"""(?<!\w)'.*?'(?!\w)|"[^"]*"|`[^`]*`|“[^”]*”
    |\b[a-z][a-z0-9+.-]{1,9}://[^\s'"<>]+
    |(?<!\w)(?:[A-Za-z]:)?[\\/][^\s'":,;()]+
    |\b0[xX][0-9a-fA-F]+\b
    |\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]+)*\b
    |\d+(?:[.,:]\d+)*""",
    re.VERBOSE,
)


def essence(traceback: str, limit: int = 6) -> list[str]:
    """Return the lines of a traceback that say most: the last place in the user's own code, and the end.

    Args:
        traceback: As Python prints it.
        limit: At most about so many lines; what is left out is ``…``.
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


def folded(message: str) -> str:
    """Return what a message shares with its like: each particular part is ``…``."""
    return _PARTICULAR.sub("…", message[:_MESSAGE].partition("\n")[0])


def origin(traceback: str, *, cut: bool) -> tuple[str | None, str | None]:
    """Return (exception type, ``file:line in function``) of a traceback.

    The place is the last one in the user's own code; the last one of all where none is.

    Args:
        traceback: As Python prints it.
        cut: It ends right before the colon and the message.
    """
    frames = list(_FRAME.finditer(traceback))
    theirs = [frame for frame in frames if is_theirs(frame["file"])] or frames
    where = None
    if theirs:
        frame = theirs[-1]
        where = f"{frame['file']}:{frame['line']}{frame['in'][1:]}"
    lines = traceback[frames[-1].end() if frames else 0 :].split("\n")
    # Lines of source are indented, the last line is not; in an exception group all lines begin with a bar.
    for line in [lines[-1].strip(" |")] if cut else lines:
        name = line.partition(":")[0]
        if _TYPE.fullmatch(name):
            return name, where
    return None, where


def is_theirs(file: str) -> bool:
    """Say whether a file that a traceback names is the user's own: neither of a library nor of pipeloom.

    The examples are programs of users, where pipeloom is not installed but on the path.
    """
    return not (_LIBRARY.search(file) or _ours().search(file))


@cache
def _ours() -> re.Pattern[str]:
    """Return the pattern of pipeloom's own files, wherever they lie: the ledger may come from another machine.

    Only the names that are there are ours: a user's project may be called pipeloom, too.
    """
    inside = [
        rf"{module.name}[\\/].+" if module.ispkg else rf"{module.name}\.py"
        for module in iter_modules(pipeloom.__path__)
        if module.name != "examples"
    ]
    return re.compile(rf"[\\/]pipeloom[\\/](?:{'|'.join(inside)}|__init__\.py)$")


@dataclass(slots=True)
class Group:
    """What is known of failures that are the same one."""

    exception: str | None
    message: str
    status: str
    where: str | None
    example: int  # the task's number
    past: int | None  # the row in pipeloom_attempts, when that try is not the task's latest
    count: int = 0
    first_at: str | None = None
    last_at: str | None = None
    run_ids: set[int] = field(default_factory=set)

    def count_in(self, number: int, at: str | None, run_id: Any, past: int | None) -> None:
        """Count one more: which task it was, when it ended, and in which run."""
        self.count += 1
        if number < self.example:
            self.example, self.past = number, past
        if at is not None:
            self.first_at = at if self.first_at is None else min(self.first_at, at)
            self.last_at = at if self.last_at is None else max(self.last_at, at)
        if type(run_id) is int and run_id not in self.run_ids:
            self.run_ids.add(run_id)
            if len(self.run_ids) > _RUNS:
                self.run_ids.remove(min(self.run_ids))


class Groups:
    """Takes failures one by one."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], Group] = {}
        self._origins: dict[str, tuple[str | None, str | None]] = {}
        self._folded: dict[str, str] = {}

    def add(
        self, number: int, status: str, message: Any, error: Any, at: Any, run_id: Any, past: int | None = None
    ) -> None:
        """Take one failure: columns of its row, of whatever type; ``past`` is its row among the past tries."""
        said = text(message) or ""
        exception, where = self._origin(text(error) or "", said)
        if status == INTERRUPTED and exception is None:
            said = said if said == NEVER_BEGAN else PROCESS_ENDED
        common = self._common(said)
        key = (status, exception, where, common)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _GROUPS:
                common = "…"
                key = (status, exception, where, common)
            group = self._groups.setdefault(key, Group(exception, common, status, where, number, past))
        group.count_in(number, text(at), run_id, past)

    def exception_of(self, message: Any, error: Any) -> str | None:
        """Return the exception of one failure: columns of its row, of whatever type."""
        return self._origin(text(error) or "", text(message) or "")[0]

    def _origin(self, traceback: str, message: str) -> tuple[str | None, str | None]:
        """Read a traceback; those of one kind are the same up to the message, and are read once."""
        if not traceback:
            return None, None
        place = traceback.rfind(": " + message) if message else -1
        head = traceback[:place] if place >= 0 else traceback
        found = self._origins.get(head)
        if found is None:
            if len(self._origins) >= _ORIGINS:
                self._origins.clear()
            found = self._origins[head] = origin(head, cut=place >= 0)
        return found

    def _common(self, message: str) -> str:
        """Fold a message; those that differ in digits alone are alike, and are folded once."""
        alike = message[:_MESSAGE].translate(_DIGITS)
        found = self._folded.get(alike)
        if found is None:
            if len(self._folded) >= _MESSAGES:
                self._folded.clear()
            found = self._folded[alike] = folded(alike)
        return found

    def largest(self, limit: int) -> Iterable[Group]:
        """Return the groups with the most failures."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.example))[:limit]
