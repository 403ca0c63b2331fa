"""Maintenance of an open file: checkpoints between batches, statistics at the end, second locks, checks."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Final

from pipeloom.data.identifiers import quoted
from pipeloom.data.text import clean
from pipeloom.db.connection import MEMORY, wal_checkpoint
from pipeloom.db.failures import is_damage, storage_error
from pipeloom.db.ownership import Ownership
from pipeloom.db.second_locks import SecondLocks
from pipeloom.db.watch import FileWatch

__all__ = ["Maintenance"]

logger = logging.getLogger("pipeloom")

_PAGES: Final = 1000  # SQLite's own default for auto-checkpoints: https://www.sqlite.org/wal.html
_LOOK_S: Final = 0.1
_LENGTH: Final = 8 * 2**20
_ANALYZED: Final = 200  # tables; the more there are, the longer each takes
_PINNED_PAGES: Final = 16_000  # 64 MiB at 4 KiB a page


class Maintenance:
    """Maintains one open file; the writer's thread, outside transactions.

    SQLite does not report how long the log is except in a checkpoint. Changes are therefore counted, and each
    checkpoint reports how many pages they filled, from which the next one is scheduled. The length of the log file
    reveals a few large rows, but means nothing once the log has started again in a long file.

    Args:
        conn: The writer's connection.
        db_path: Its file.
        wal: It has a log that needs checkpoints.
        owned: It belongs to a run.
        ownership: The ownership to maintain, unless another object does that.
    """

    def __init__(
        self,
        conn: sqlite3.Connection,
        db_path: Path,
        *,
        wal: bool,
        owned: bool = False,
        ownership: Ownership | None = None,
    ) -> None:
        self._ownership = ownership
        self._conn = conn
        self._path = db_path
        self._wal = wal
        self.locks: SecondLocks | None = None
        self._watch: FileWatch | None = None
        if str(db_path) != MEMORY:
            if wal:
                conn.execute("SELECT 1 FROM sqlite_master").fetchone()  # which creates the log and its index
            self.locks = SecondLocks(db_path, wal=wal, owned=owned)
            self._watch = FileWatch(conn, db_path, self.locks if wal else None)
        self._looked_at = monotonic()
        self._changes = conn.total_changes
        self._interval = 2000
        self._length_then = 0  # of the log's file, in bytes, at the last checkpoint
        self._warned_pages = _PINNED_PAGES
        self._checkpoint_failed = False

    def at_work(self) -> AbstractContextManager[object]:
        """Return the context in which to use the connection: meanwhile no task opens SQLite's files."""
        return self.locks or nullcontext()

    def pause(self) -> None:
        """Let tasks open SQLite's files if they wait to; called while waiting for another program's lock."""
        if self.locks is not None and not self._conn.in_transaction:
            self.locks.pause()

    def after_batch(self) -> None:
        """Run a checkpoint once the log has grown by about 1,000 pages; check from time to time that all is well.

        Raises:
            StorageError: The file is no longer the one that was opened.
        """
        is_due = self._wal and self._conn.total_changes - self._changes >= self._interval
        if is_due or monotonic() - self._looked_at >= _LOOK_S:
            self.look()  # before each checkpoint: an incomplete log must not be moved into the database
        if not self._wal or self._watch is None:
            return
        length = self._watch.log_length
        self._length_then = min(self._length_then, length)
        if is_due or length - self._length_then >= _LENGTH:
            self._length_then = length
            self._checkpoint()

    def look(self) -> None:
        """Detect a file that was replaced, removed, emptied or truncated.

        Raises:
            StorageError: It is no longer the file that was opened.
        """
        self._looked_at = monotonic()
        if self._ownership is not None:
            self._ownership.renew()
        if self._watch is not None:
            self._watch.look()

    def explain(self, error: sqlite3.Error) -> None:
        """Look for the cause of an SQLite error.

        Raises:
            StorageError: The cause can be seen at the files.
        """
        if self._watch is not None:
            self._watch.explain(error)

    def release(self) -> None:
        """Release the second locks, right before the connection is closed."""
        if self.locks is not None:
            self.locks.release()

    def _checkpoint(self) -> None:
        """Move what can be moved; a failure does not stop commits, unless it says that the file is damaged."""
        changes, self._changes = self._conn.total_changes - self._changes, self._conn.total_changes
        try:
            _, pages, moved = self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            if not self._checkpoint_failed:
                logger.warning("a checkpoint failed, commits continue: %s", storage_error(error, self._path))
                self._checkpoint_failed = True
            return
        self._checkpoint_failed = False
        fresh = max(pages, 1)
        planned = changes * _PAGES // fresh
        self._interval = min(max(planned, self._interval // 4, 100), self._interval * 4, 1_000_000)
        if moved < pages and pages > self._warned_pages:
            self._warned_pages = pages * 2
            logger.warning(
                "%s-wal has grown to %s MiB because another program keeps reading an old state: end that program's "
                "transaction, and the log will shrink",
                clean(self._path),
                f"{pages * 4096 / 2**20:,.0f}",
            )

    def at_close(self, tables: Iterable[str]) -> None:
        """Refresh the planner's statistics for these tables, at most 200, with limited effort; empty the log.

        Source: https://www.sqlite.org/lang_analyze.html (analysis_limit)
        """
        self._conn.execute("PRAGMA analysis_limit = 1000")
        for table in sorted(tables)[:_ANALYZED]:
            try:
                self._conn.execute(f"ANALYZE {quoted(table)}")
            except (sqlite3.Error, ValueError) as error:  # users' SQL may have created a table with any name
                logger.debug("no statistics for %s: %s", clean(table), clean(error))
        if self._wal:
            wal_checkpoint(self._conn, "TRUNCATE")
