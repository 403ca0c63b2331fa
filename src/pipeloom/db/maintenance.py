"""What an open file needs: checkpoints between batches, statistics at the end, its second locks, a look at it."""

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
_ANALYZED: Final = 200  # tables: each takes longer the more there are
_PINNED_PAGES: Final = 16_000  # 64 MiB at 4 KiB a page


class Maintenance:
    """Looks after one open file; the writer's thread, outside transactions.

    SQLite does not say how long the log is, short of checkpointing it. So changes are counted, and each
    checkpoint tells how many pages they made, from which the next one is planned. The length of the log's file
    tells of few, large rows; it says nothing once the log has begun again in a long file.

    Args:
        conn: The writer's connection.
        db_path: Its file.
        wal: There is a log to checkpoint.
        owned: It is a run's.
        ownership: Which this has to see to, if that is not somebody else's to do.
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
                conn.execute("SELECT 1 FROM sqlite_master").fetchone()  # which makes the log and its index
            self.locks = SecondLocks(db_path, wal=wal, owned=owned)
            self._watch = FileWatch(conn, db_path, self.locks if wal else None)
        self._looked_at = monotonic()
        self._changes = conn.total_changes
        self._interval = 2000
        self._length_then = 0  # of the log's file, in bytes, at the last checkpoint
        self._warned_pages = _PINNED_PAGES
        self._checkpoint_failed = False

    def at_work(self) -> AbstractContextManager[object]:
        """Return what to enter while the connection is used: meanwhile no task opens SQLite's files."""
        return self.locks or nullcontext()

    def pause(self) -> None:
        """Let in tasks that wait to open SQLite's files; while another program's lock is waited for."""
        if self.locks is not None and not self._conn.in_transaction:
            self.locks.pause()

    def after_batch(self) -> None:
        """Checkpoint when the log has grown by about 1,000 pages; look now and then whether all is as it was.

        Raises:
            StorageError: The file is no longer the one that was opened.
        """
        is_due = self._wal and self._conn.total_changes - self._changes >= self._interval
        if is_due or monotonic() - self._looked_at >= _LOOK_S:
            self.look()  # before each checkpoint: what the log lacks must not be moved into the database
        if not self._wal or self._watch is None:
            return
        length = self._watch.log_length
        self._length_then = min(self._length_then, length)
        if is_due or length - self._length_then >= _LENGTH:
            self._length_then = length
            self._checkpoint()

    def look(self) -> None:
        """Notice a file that was replaced, removed, emptied or cut off.

        Raises:
            StorageError: It is no longer the one that was opened.
        """
        self._looked_at = monotonic()
        if self._ownership is not None:
            self._ownership.renew()
        if self._watch is not None:
            self._watch.look()

    def explain(self, error: sqlite3.Error) -> None:
        """Look for what made SQLite fail.

        Raises:
            StorageError: That is to be seen at the files.
        """
        if self._watch is not None:
            self._watch.explain(error)

    def release(self) -> None:
        """Give back the second locks, right before the connection is closed."""
        if self.locks is not None:
            self.locks.release()

    def _checkpoint(self) -> None:
        """Move what can be moved; a failure does not stop the commits, unless it says that the file is damaged."""
        changes, self._changes = self._conn.total_changes - self._changes, self._conn.total_changes
        try:
            _, pages, moved = self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            if not self._checkpoint_failed:
                logger.warning("a checkpoint failed, commits go on: %s", storage_error(error, self._path))
                self._checkpoint_failed = True
            return
        self._checkpoint_failed = False
        fresh = max(pages, 1)
        planned = changes * _PAGES // fresh
        self._interval = min(max(planned, self._interval // 4, 100), self._interval * 4, 1_000_000)
        if moved < pages and pages > self._warned_pages:
            self._warned_pages = pages * 2
            logger.warning(
                "%s-wal has grown to %s MiB because another program keeps reading an old state: close its "
                "transaction, and the log shrinks",
                clean(self._path),
                f"{pages * 4096 / 2**20:,.0f}",
            )

    def at_close(self, tables: Iterable[str]) -> None:
        """Refresh the planner's statistics for these tables, up to 200 of them, within bounds; empty the log.

        Source: https://www.sqlite.org/lang_analyze.html (analysis_limit)
        """
        self._conn.execute("PRAGMA analysis_limit = 1000")
        for table in sorted(tables)[:_ANALYZED]:
            try:
                self._conn.execute(f"ANALYZE {quoted(table)}")
            except (sqlite3.Error, ValueError) as error:  # users' SQL may have made a table of any name
                logger.debug("no statistics for %s: %s", clean(table), clean(error))
        if self._wal:
            wal_checkpoint(self._conn, "TRUNCATE")
