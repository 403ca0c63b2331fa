"""The journal mode of a file while a run has it open, and the mode in which the file is left.

A run uses a write-ahead log, so that readers and the writer do not wait for each other. A file with a rollback
journal uses the log only while the run has it open, unless the caller requests otherwise. This is recorded in the
file before the log is created, so that after a crash the next process to open it can restore the journal.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Final

from pipeloom.data.text import clean
from pipeloom.db.connection import MEMORY, Durability, prepare, set_journal
from pipeloom.db.failures import is_busy
from pipeloom.db.transaction import Transaction

__all__ = ["Journal"]

logger = logging.getLogger("pipeloom")

_KEY: Final = "log is for runs only"  # in pipeloom_meta
_TRIES: Final = 10
_PAUSE_S: Final = 0.05  # by then an occasional reader has closed its connection


class Journal:
    """The journal of one file; the writer's thread.

    Args:
        path: The file, or ``:memory:``.
        wal: ``True``: a write-ahead log, also afterwards. ``False``: a rollback journal. ``None``: a log, which
            the file keeps if it is new or already had one.
        durability: See :data:`pipeloom.db.Durability`.
        has_ledger: Once the tables exist, there is a ``pipeloom_meta`` to record it in.
    """

    def __init__(self, path: Path, *, wal: bool | None, durability: Durability, has_ledger: bool) -> None:
        self._path = path
        self._is_file = str(path) != MEMORY
        self._wal = wal
        self._durability: Durability = durability
        self._has_ledger = has_ledger
        self._is_lent = False

    @property
    def uses_log(self) -> bool:
        """Whether the file uses a write-ahead log while it is open."""
        return self._is_file and self._wal is not False

    def prepare(self, conn: sqlite3.Connection, inspect: Callable[[sqlite3.Connection], object] | None) -> None:
        """Prepare a connection; if the journal is to be restored later, begin with the file's own mode."""
        prepare(conn, self._path, wal=self._wal, durability=self._durability, inspect=inspect)

    def settle(self, conn: sqlite3.Connection, transaction: Transaction) -> None:
        """Switch to the log, if that is still to be done; between transactions, once the ledger exists.

        Raises:
            StorageError, sqlite3.Error: Another program's lock is in the way: call this again.
        """
        if not self._is_file:
            return
        if self._wal is not None:
            if self._is_noted(conn):
                self._write(conn, transaction, "DELETE FROM pipeloom_meta WHERE key = ?")
            return
        has_log = conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        self._is_lent = not has_log or self._is_noted(conn)
        if not has_log:
            if self._has_ledger:
                self._write(conn, transaction, "INSERT OR REPLACE INTO pipeloom_meta VALUES (?, 1)")
            set_journal(conn, self._path, wal=True, durability=self._durability)

    def give_back(self, conn: sqlite3.Connection) -> None:
        """Restore the rollback journal that a file had; right before the connection is closed.

        Takes at most half a second, and logs a warning if another connection is open, since SQLite refuses then.

        Raises:
            sqlite3.Error: The disk failed.

        Source: https://www.sqlite.org/pragma.html#pragma_journal_mode
        """
        if not self._is_lent:
            return
        for _ in range(_TRIES):
            if _without_log(conn):
                break
            sleep(_PAUSE_S)
        else:
            logger.warning(
                "%s had a rollback journal and still has a write-ahead log, because another connection has it "
                "open: the next run restores the journal, or once that connection is closed: sqlite3 FILE 'PRAGMA "
                "journal_mode=DELETE'",
                clean(self._path),
            )
            return
        if self._has_ledger:
            conn.execute("DELETE FROM pipeloom_meta WHERE key = ?", (_KEY,))

    def _is_noted(self, conn: sqlite3.Connection) -> bool:
        if not self._has_ledger:
            return False
        return conn.execute("SELECT 1 FROM pipeloom_meta WHERE key = ?", (_KEY,)).fetchone() is not None

    def _write(self, conn: sqlite3.Connection, transaction: Transaction, sql: str) -> None:
        transaction.open()
        conn.execute(sql, (_KEY,))
        transaction.commit()


def _without_log(conn: sqlite3.Connection) -> bool:
    try:
        return bool(conn.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == "delete")
    except sqlite3.OperationalError as error:
        if is_busy(error):
            return False
        raise
