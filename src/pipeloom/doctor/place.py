"""What can be told without opening the database: its disk, the files beside it, who reads it, which SQLite."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Final

from pipeloom.data.text import clean
from pipeloom.db.cancel import requested
from pipeloom.db.place import mount_of
from pipeloom.doctor.finding import Finding

__all__ = ["in_bytes", "look_around", "reader_locks", "sqlite_finding"]

_LOG_IS_LARGE: Final = 64 << 20
_DISK_IS_SMALL: Final = 64 << 20
_GLANCE_S: Final = 0.3
_LOCKS: Final = "/proc/locks"

# Which byte of the -shm is which lock. Source: https://www.sqlite.org/walformat.html (section 2.3)
_WRITER: Final = 120
_READERS: Final = range(123, 128)

# Source: https://www.sqlite.org/wal.html ("the WAL-reset bug")
_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))
_RESET_BUG_NOT_IN: Final = ((3, 44, 6), (3, 50, 7))


def look_around(path: Path, owner: int | None) -> Iterator[Finding]:
    """Yield what the directory tells; blocks for a moment when somebody reads.

    Args:
        path: The database.
        owner: The process that runs on it, ``None`` when none does.
    """
    yield _disk(path)
    yield from _beside(path, owner)
    if (locks := _locks(path)) is not None:
        yield _readers(path, locks)


def in_bytes(size: float) -> str:
    """Return a size as people say it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def _size(path: Path, suffix: str) -> int | None:
    try:
        return os.stat(os.path.realpath(path) + suffix).st_size
    except OSError:
        return None


def _disk(path: Path) -> Finding:
    mount = mount_of(path)
    free = shutil.disk_usage(path.absolute().parent).free
    text = f"{in_bytes(free)} free" + (f", {clean(mount.kind)} at {clean(mount.point)}" if mount else "")
    if mount is not None and mount.is_network:
        return Finding("disk", "note", text, "a network file system: neither its locks nor a log are safe there")
    if free < _DISK_IS_SMALL:
        return Finding("disk", "note", text, "free some space before the next run")
    return Finding("disk", "ok", text)


def _beside(path: Path, owner: int | None) -> Iterator[Finding]:
    log, journal = _size(path, "-wal"), _size(path, "-journal")
    if journal:
        text = f"a rollback journal of {in_bytes(journal)}"
        if owner is None:
            yield Finding(
                "journal", "note", text, "a process died within a commit: the next one that writes takes it back"
            )
        else:
            yield Finding("journal", "ok", text)
    if not log:
        yield Finding("log", "ok", "empty: all is in the database file" if journal is None else "none")
    elif log > _LOG_IS_LARGE:
        yield Finding(
            "log",
            "note",
            f"{in_bytes(log)} in -wal",
            "somebody keeps reading an old state, see readers: close that, and the log shrinks",
        )
    elif owner is None:
        yield Finding(
            "log",
            "note",
            f"{in_bytes(log)} in -wal, and no run is going on",
            "a part of the database: keep it beside the file; the next run moves it in",
        )
    else:
        yield Finding("log", "ok", f"{in_bytes(log)} in -wal")
    request = requested(path)
    if request is not None and owner is None:
        yield Finding(
            "cancel",
            "note",
            f"somebody asked run {request[0]} to stop, and it has ended",
            "nothing: the file may go",
        )


# --- who reads ---


def reader_locks(text: str, inode: int, device: tuple[int, int]) -> set[tuple[int, int]]:
    """Return (process, byte) of the locks on one file, from what Linux lists.

    Some file systems show another device in this list than ``stat`` does, so a file is also known by its number
    alone if the list has it on one device only.

    Source: https://man7.org/linux/man-pages/man5/proc_locks.5.html
    """
    found: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for line in text.splitlines():
        part = re.match(
            r"\d+: (?:POSIX|OFDLCK) +\w+ +\w+ +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) (\d+) (\d+|EOF)", line
        )
        if part is None or int(part[4]) != inode:
            continue
        first, last = int(part[5]), int(part[5]) if part[6] == "EOF" else int(part[6])
        where = int(part[2], 16), int(part[3], 16)
        found.setdefault(where, set()).update(
            (int(part[1]), byte) for byte in range(first, min(last, first + 8) + 1)
        )
    if device in found:
        return found[device]
    return next(iter(found.values())) if len(found) == 1 else set()


def _locks(path: Path) -> set[tuple[int, int]] | None:
    """Return who has locked what in the log's index; ``None`` when that cannot be known here.

    The index is not opened to ask: closing it again would drop the locks of this process's own connections.
    """
    try:
        index = os.stat(os.path.realpath(path) + "-shm")
        with open(_LOCKS, encoding="ascii", errors="replace") as file:
            return reader_locks(file.read(), index.st_ino, (os.major(index.st_dev), os.minor(index.st_dev)))
    except OSError:
        return None


def _readers(path: Path, locks: set[tuple[int, int]]) -> Finding:
    """Tell who reads: whoever holds the same mark after a while has had it all that time, or takes it often."""
    if any(byte in _READERS for _, byte in locks):
        sleep(_GLANCE_S)
        locks &= _locks(path) or set()
    readers = sorted({process for process, byte in locks if byte in _READERS})
    if readers:
        named = ", ".join(_named(process) for process in readers[:5]) + (", …" if len(readers) > 5 else "")
        return Finding(
            "readers",
            "note",
            f"reading for more than a moment: {named}",
            "until it ends its transaction, the log cannot be emptied and grows with every commit",
        )
    writers = sorted({process for process, byte in locks if byte == _WRITER})
    text = f"process {_named(writers[0])} is writing" if writers else "nobody reads for more than a moment"
    return Finding("readers", "ok", text)


def _named(process: int) -> str:
    if process <= 0:
        return "a process outside this container"
    try:
        name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="backslashreplace").strip()
    except OSError:
        return f"process {process}"
    return f"process {process} ({clean(name, 30)})"


def sqlite_finding(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> Finding:
    """Tell SQLite's version and the fault that matters here."""
    text = f"{'.'.join(map(str, version))}, used by this Python"
    if _RESET_BUG[0] <= version <= _RESET_BUG[1] and version not in _RESET_BUG_NOT_IN:
        return Finding(
            "SQLite",
            "note",
            text,
            "two connections that write or checkpoint at one instant can damage a log (mended in 3.51.3): a run "
            "has one writer, so let no other program write during a run",
        )
    return Finding("SQLite", "ok", text)
