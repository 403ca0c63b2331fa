"""Every check, in order; see the package. Used in one thread; blocks for as long as it is allowed to.

The file is read without a lock where nobody has it open, and without touching the log's index where somebody does.
While a run is going on, no question takes over a second: a reader keeps the log from shrinking, and a rollback
journal from committing.
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
"""Told what is being looked at and for how many seconds; called a few times a second."""

_BRIEFLY_S: Final = 0.8
_TELL_S: Final = 0.25
_HUGE: Final = 1 << 30  # bytes; beyond, indexes are not held against their tables unless time is asked for
_SHOWN: Final = 5


def examine(db_path: Path, *, deadline_s: float | None = None, on_step: OnStep | None = None) -> list[Finding]:
    """Look at a file, and return what was found, in a fixed order.

    Args:
        db_path: The file.
        deadline_s: How long one check may take, in seconds. Default: 60, and indexes are not held against their
            tables in files over 1 GiB. While a run is going on it is 0.8 s at most.
        on_step: Told what is going on.

    Raises:
        StorageError: There is no such file, it is no database, or so damaged that nothing can be read.
    """
    path = path_of(db_path)
    check_file(path)
    while True:
        before = _state(path)
        found = _Examination(path, deadline_s, on_step).findings()
        # Without a log it was read as if nobody wrote it. If somebody did, what was found may be half and half.
        if before == _state(path) or before[-1]:
            return found


def _state(path: Path) -> tuple[int, int, bool]:
    """Return what changes when somebody begins to write: time, size, and whether there is a log."""
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
        """Run one check; a damaged page ends it and not the others."""
        self._step, self._began = name, monotonic()
        try:
            return check()
        except sqlite3.Error as error:
            if self._reader.was_ended(error):
                return [self._late(name)]
            code = getattr(error, "sqlite_errorname", type(error).__name__)
            if is_busy(error):
                return [Finding(name, "note", f"not looked at: another program holds the lock ({code})")]
            if primary_code(error) == sqlite3.SQLITE_TOOBIG:
                text = f"not finished: it holds a value over {LONGEST >> 20} MiB, which is not read here"
                return [
                    Finding(name, "note", text, "`sqlite3 FILE 'PRAGMA integrity_check'` looks at those as well")
                ]
            advice = "restore a copy, or save what can be read with `sqlite3 FILE .recover`"
            return [Finding(name, "BAD", f"the check ended at: {clean(error, 100)} ({code})", advice)]
        except StorageError as error:  # more than memory is for
            return [Finding(name, "note", f"not finished: {error}")]
        except (TypeError, ValueError, OverflowError) as error:
            text = f"a column of the ledger holds what does not belong there ({clean(error, 100)})"
            return [
                Finding(name, "BAD", text, "no run leaves this behind: something else has written to the ledger")
            ]

    def _ask(self, check: ledger.Check) -> list[Finding]:
        with self._reader.one_state():
            return check(self._rows)

    def _rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return self._reader.rows(sql, params)

    def _late(self, name: str) -> Finding:
        why = " while a run is going on" if self._owner is not None else ""
        more = "run it again when the run has ended" if why else "allow it more time: --deadline"
        return Finding(name, "note", f"not finished within {duration(self._limit_s)}{why}", more)

    def _tick(self) -> bool:
        """Tell what is being looked at; say whether that has taken too long."""
        now = monotonic()
        if now - self._told > _TELL_S:
            self._told = now
            if self._on_step is not None:
                self._on_step(self._step, now - self._began)
            if self._owner is None and (owner := owner_of(self._path)) is not None:
                self._owner, self._limit_s = owner, _BRIEFLY_S  # a run has just begun: out of its way
        return now - self._began > self._limit_s

    # --- the file itself ---

    def _file(self) -> Finding:
        pages, page = self._rows("PRAGMA page_count")[0][0], self._rows("PRAGMA page_size")[0][0]
        free = self._rows("PRAGMA freelist_count")[0][0]
        size = os.stat(self._path).st_size
        text = f"{in_bytes(size)}, {pages:,} pages of {page:,} bytes, {free:,} of them free"
        if size % page and not _state(self._path)[-1]:
            return Finding(
                "file", "BAD", f"{text}; the last page is cut off", "copy it again from where it came from"
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
                    "the file is damaged: restore a copy, or save what can be read with `sqlite3 FILE .recover`",
                )
            ]
        took = duration(monotonic() - self._began)
        if quick:
            text = f"every page is sound; indexes were not held against their tables ({took})"
            return [Finding("integrity", "ok", text, "for those, give it time: --deadline 600")]
        return [Finding("integrity", "ok", f"every page and index is sound ({took})")]

    def _schema(self) -> list[Finding]:
        try:
            version = schema_version(self._reader.conn)
        except SchemaError as error:
            return [Finding("schema", "BAD", str(error))]
        if version == 0:
            return [Finding("schema", "note", "no pipeloom ledger here", "nothing, if the ledger was not wanted")]
        if version > SCHEMA_VERSION:
            text = f"version {version}, of a newer pipeloom (this one knows {SCHEMA_VERSION})"
            return [Finding("schema", "note", text, "upgrade pipeloom to look further")]
        missing = ledger.missing(self._rows, version)
        if missing:
            return [
                Finding(
                    "schema",
                    "BAD",
                    f"version {version}, without {clean(', '.join(missing), 200)}",
                    "restore a copy",
                )
            ]
        older = "" if version == SCHEMA_VERSION else f" (the next run brings it to {SCHEMA_VERSION})"
        return [Finding("schema", "ok", f"version {version}{older}")]
