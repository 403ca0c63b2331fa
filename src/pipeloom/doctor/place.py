"""Checks without opening the database: its disk, the files beside it, its readers, and the version of SQLite."""

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

# The byte of the -shm for each lock. Source: https://www.sqlite.org/walformat.html (section 2.3)
_WRITER: Final = 120
_READERS: Final = range(123, 128)

# Source: https://www.sqlite.org/wal.html ("the WAL-reset bug")
_RESET_BUG: Final = ((3, 7, 0), (3, 51, 2))
_RESET_BUG_NOT_IN: Final = ((3, 44, 6), (3, 50, 7))


def look_around(path: Path, owner: int | None) -> Iterator[Finding]:
    """Yield findings about the disk and the files beside the database; blocks for a moment if there are readers.

    Args:
        path: The database.
        owner: The id of the process that uses it; ``None`` without one.
    """
    yield _disk(path)
    yield from _beside(path, owner)
    if (locks := _locks(path)) is not None:
        yield _readers(path, locks)


def in_bytes(size: float) -> str:
    """Return a size with a suitable unit."""
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
        return Finding("disk", "note", text, "a network file system: locks and write-ahead logs are not safe there")
    if free < _DISK_IS_SMALL:
        return Finding("disk", "note", text, "free some space before the next run")
    return Finding("disk", "ok", text)


def _beside(path: Path, owner: int | None) -> Iterator[Finding]:
    log, journal = _size(path, "-wal"), _size(path, "-journal")
    if journal:
        text = f"a rollback journal of {in_bytes(journal)}"
        if owner is None:
            yield Finding(
                "journal", "note", text, "a process died during a commit: the next one that writes rolls it back"
            )
        else:
            yield Finding("journal", "ok", text)
    if not log:
        yield Finding("log", "ok", "empty: everything is in the database file" if journal is None else "none")
    elif log > _LOG_IS_LARGE:
        yield Finding(
            "log",
            "note",
            f"{in_bytes(log)} in -wal",
            "a program keeps reading an old state (see readers): close it, and the log shrinks",
        )
    elif owner is None:
        yield Finding(
            "log",
            "note",
            f"{in_bytes(log)} in -wal, and no run is in progress",
            "part of the database: keep it beside the file; the next run moves it into the file",
        )
    else:
        yield Finding("log", "ok", f"{in_bytes(log)} in -wal")
    request = requested(path)
    if request is not None and owner is None:
        yield Finding(
            "cancel",
            "note",
            f"run {request[0]} was asked to stop, and has ended",
            "nothing to do: the request can be deleted",
        )


# --- readers ---


def reader_locks(text: str, inode: int, device: tuple[int, int]) -> set[tuple[int, int]]:
    """Return (process, byte) of the locks on one file, from Linux's list of locks.

    On some file systems the device in this list differs from that of ``stat``. A file is therefore also identified
    by its inode alone, if the list has that inode on one device only.

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
    """Return (process, byte) of the locks on the log's index; ``None`` if they cannot be determined here.

    The index itself is not opened: closing it would drop the locks of this process's own connections.
    """
    try:
        index = os.stat(os.path.realpath(path) + "-shm")
        with open(_LOCKS, encoding="ascii", errors="replace") as file:
            return reader_locks(file.read(), index.st_ino, (os.major(index.st_dev), os.minor(index.st_dev)))
    except OSError:
        return None


def _readers(path: Path, locks: set[tuple[int, int]]) -> Finding:
    """Report readers that hold the same lock at two moments: they read for that long, or very often."""
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
    text = f"{_named(writers[0])} is writing" if writers else "no process reads for more than a moment"
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
    """Report SQLite's version, and whether it has the bug that matters here."""
    text = f"{'.'.join(map(str, version))}, used by this Python"
    if _RESET_BUG[0] <= version <= _RESET_BUG[1] and version not in _RESET_BUG_NOT_IN:
        return Finding(
            "SQLite",
            "note",
            text,
            "two connections that write or checkpoint at the same time can damage a log (fixed in 3.51.3): do not "
            "let another program write during a run",
        )
    return Finding("SQLite", "ok", text)
