"""Faults at system calls, by strace: kill, fail or delay the Nth call of a thread on our files.

Source: https://man7.org/linux/man-pages/man1/strace.1.html ("Tampering"). ``when=`` counts per thread, and the
writer is the one thread that writes to the database, so N is the Nth storage call. Never with ``--seccomp-bpf``:
it injects nothing into threads.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from faults.tools import need, unable

STORAGE_CALLS: Final = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename")


@cache
def usable() -> None:
    """Skip, or fail in CI, unless strace is here and may trace."""
    need("strace")
    outcome = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    if outcome.returncode:
        unable(f"strace may not trace: {outcome.stderr.strip()}")


def files_of(db: Path) -> list[Path]:
    """Return the files that SQLite keeps for a database; its shared memory is not storage."""
    return [db, *(db.with_name(db.name + end) for end in ("-wal", "-journal"))]


def injecting(call: str, what: str, command: list[str], *, paths: list[Path], log: Path | None = None) -> list[str]:
    """Return the command under strace, with ``what`` (``signal=KILL:when=3``) injected into ``call`` on ``paths``.

    Args:
        call: A system call.
        what: As strace spells it after the call's name.
        command: The command.
        paths: Only calls on these files count.
        log: Where strace writes each call that it saw; an injected one says INJECTED.
    """
    usable()
    only = [word for path in paths for word in ("-P", str(path))]
    return [
        "strace", "-f", "-qq", "-o", str(log or "/dev/null"), "-e", f"trace={call}", "-e", f"inject={call}:{what}",
        *only, *command,
    ]  # fmt: skip


def counting(command: list[str], *, paths: list[Path], log: Path) -> list[str]:
    """Return the command under strace, which writes each storage call on ``paths`` to ``log``."""
    usable()
    only = [word for path in paths for word in ("-P", str(path))]
    calls = ",".join(STORAGE_CALLS)
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={calls}", *only, *command]


def counts(log: Path) -> dict[str, int]:
    """Return call → how often the busiest thread made it (``when=`` counts per thread)."""
    by_thread: dict[tuple[str, str], int] = {}
    for line in log.read_text().splitlines():
        if found := re.match(r"(\d+)\s+(\w+)\(", line):
            by_thread[found.groups()] = by_thread.get(found.groups(), 0) + 1  # type: ignore[index,arg-type]
    most: dict[str, int] = {}
    for (_, call), count in by_thread.items():
        most[call] = max(most.get(call, 0), count)
    return most


def injected(log: Path) -> int:
    """Return how many calls were tampered with."""
    return log.read_text().count("(INJECTED)")
