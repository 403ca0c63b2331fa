"""Run all checks in a fixed order. Used in one thread; each check blocks up to its time limit.

The file is read without a lock if no process has it open, and otherwise without changing the log's index. While a
run is in progress, no query takes longer than a second: a reader keeps the write-ahead log from shrinking, and with
a rollback journal it blocks commits.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.db import SCHEMA_VERSION, owner_of
from pipeloom.db.failures import is_busy, primary_code
from pipeloom.db.limited import LONGEST, LimitedReader
from pipeloom.db.place import check_file, path_of
from pipeloom.db.schema import schema_version
from pipeloom.doctor import ledger
from pipeloom.doctor.finding import Finding
from pipeloom.doctor.place import in_bytes, look_around, sqlite_finding
from pipeloom.errors import SchemaError, StorageError

__all__ = ["examine"]

OnStep = Callable[[str, float], None]
"""Called a few times a second with the name of the present check and how many seconds it has taken."""

_BRIEFLY_S: Final = 0.8
_TELL_S: Final = 0.25
_HUGE: Final = 1 << 30  # bytes; in larger files, indexes are compared with their tables only with a deadline_s
_SHOWN: Final = 5


def examine(db_path: Path, *, deadline_s: float | None = None, on_step: OnStep | None = None) -> list[Finding]:
    """Check a file, and return the findings in a fixed order.

    Args:
        db_path: The file.
        deadline_s: The time limit of one check, in seconds. Default: 60, and indexes are not compared with their
            tables in files over 1 GiB. While a run is in progress, the limit is 0.8 s at most.
        on_step: Called with the progress of the checks.

    Returns:
        n ≥ 1 findings.

    Raises:
        StorageError: The file does not exist, is not a database, or is so damaged that nothing can be read.
    """
    path = path_of(db_path)
    check_file(path)
    while True:
        before = _state(path)
        found = _Examination(path, deadline_s, on_step).findings()
        # Without a log the file was read without locks. If it was written meanwhile, the findings may be mixed.
        if before == _state(path) or before[-1]:
            return found


def _state(path: Path) -> tuple[int, int, bool]:
    """Return values that change when the file is written: its time, its size, and whether it has a log."""
    found = os.stat(path)
    real = os.path.realpath(path)
    beside = any(
        os.path.exists(real + suffix) and os.path.getsize(real + suffix) for suffix in ("-wal", "-journal")
    )
    return found.st_mtime_ns, found.st_size, beside


class _Examination:
    def __init__(self, path: Path, deadline_s: float | None, on_step: OnStep | None) -> None:
        self._path = path
        self._owner = owner_of(path)
        self._thorough = deadline_s is not None
        self._limit_s = 60.0 if deadline_s is None else deadline_s
        if self._owner is not None:
            self._limit_s = min(self._limit_s, _BRIEFLY_S)
        self._on_step = on_step
        self._step = ""
        self._began = self._told = monotonic()

    def findings(self) -> list[Finding]:
        found = list(look_around(self._path, self._owner))
        with closing(LimitedReader(self._path, self._tick, untouched=True)) as self._reader:
            found = [self._file(), *found, *self._guarded("integrity", self._integrity)]
            version = list(self._guarded("schema", self._schema))
            found += version
            if version and version[0].verdict == "ok":
                for name, check in ledger.checks(self._owner):
                    found += self._guarded(name, partial(self._ask, check))
        return [*found, sqlite_finding()]

    def _guarded(self, name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
        """Run one check; a damaged page ends only that check."""
        self._step, self._began = name, monotonic()
        try:
            return check()
        except sqlite3.Error as error:
            if self._reader.was_ended(error):
                return [self._late(name)]
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            if is_busy(error):
                return [Finding(name, "note", f"not checked: another program holds the lock ({code})")]
            if primary_code(error) == sqlite3.SQLITE_TOOBIG:
                text = f"not finished: the file has a value over {LONGEST >> 20} MiB, which is not read here"
                return [
                    Finding(name, "note", text, "`sqlite3 FILE 'PRAGMA integrity_check'` checks such values too")
                ]
            advice = "restore a backup, or save what can be read with `sqlite3 FILE .recover`"
            return [Finding(name, "BAD", f"the check failed: {clean(error, 100)} ({code})", advice)]
        except StorageError as error:  # the result takes too much memory
            return [Finding(name, "note", f"not finished: {error}")]
        except (TypeError, ValueError, OverflowError) as error:
            text = f"a column of the ledger has an invalid value ({clean(error, 100)})"
            return [Finding(name, "BAD", text, "not caused by a run: another program has written to the ledger")]

    def _ask(self, check: ledger.Check) -> list[Finding]:
        with self._reader.one_state():
            return check(self._rows)

    def _rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._reader.rows(sql, params)

    def _late(self, name: str) -> Finding:
        why = " while a run is in progress" if self._owner is not None else ""
        more = "check again after the run has ended" if why else "allow more time: --deadline"
        return Finding(name, "note", f"not finished within {duration(self._limit_s)}{why}", more)

    def _tick(self) -> bool:
        """Report the progress of the present check; return whether it has exceeded its time limit."""
        now = monotonic()
        if now - self._told > _TELL_S:
            self._told = now
            if self._on_step is not None:
                self._on_step(self._step, now - self._began)
            if self._owner is None and (owner := owner_of(self._path)) is not None:
                self._owner, self._limit_s = owner, _BRIEFLY_S  # a run has just begun: do not block it
        return now - self._began > self._limit_s

    # --- the file itself ---

    def _file(self) -> Finding:
        pages, page = self._rows("PRAGMA page_count")[0][0], self._rows("PRAGMA page_size")[0][0]
        free = self._rows("PRAGMA freelist_count")[0][0]
        size = os.stat(self._path).st_size
        text = f"{in_bytes(size)}, {pages:,} pages of {page:,} bytes, {free:,} of them free"
        if size % page and not _state(self._path)[-1]:
            return Finding(
                "file", "BAD", f"{text}; the last page is truncated", "copy the file again from its source"
            )
        return Finding("file", "ok", text)

    def _integrity(self) -> list[Finding]:
        quick = not self._thorough and os.stat(self._path).st_size > _HUGE
        problems = [
            line
            for (text,) in self._rows(f"PRAGMA {'quick_check' if quick else 'integrity_check'}(100)")
            for line in str(text).splitlines()
            if line != "ok" and not line.startswith("*** in database")
        ]
        if problems:
            shown = "; ".join(clean(line, 100) for line in problems[:_SHOWN])
            more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            return [
                Finding(
                    "integrity",
                    "BAD",
                    f"{shown}{more}",
                    "the file is damaged: restore a backup, or save what can be read with `sqlite3 FILE .recover`",
                )
            ]
        took = duration(monotonic() - self._began)
        if quick:
            text = f"all pages are intact; indexes were not compared with their tables ({took})"
            return [Finding("integrity", "ok", text, "to check the indexes too: --deadline 600")]
        return [Finding("integrity", "ok", f"all pages and indexes are intact ({took})")]

    def _schema(self) -> list[Finding]:
        try:
            version = schema_version(self._reader.conn)
        except SchemaError as error:
            return [Finding("schema", "BAD", str(error))]
        if version == 0:
            return [Finding("schema", "note", "the file has no pipeloom ledger", "fine if that is intended")]
        if version > SCHEMA_VERSION:
            text = f"version {version}, from a newer pipeloom (this one has {SCHEMA_VERSION})"
            return [Finding("schema", "note", text, "upgrade pipeloom to check the ledger")]
        missing = ledger.missing(self._rows, version)
        if missing:
            return [
                Finding(
                    "schema",
                    "BAD",
                    f"version {version}, but {clean(', '.join(missing), 200)} missing",
                    "restore a backup",
                )
            ]
        older = "" if version == SCHEMA_VERSION else f" (the next run updates it to {SCHEMA_VERSION})"
        return [Finding("schema", "ok", f"version {version}{older}")]
