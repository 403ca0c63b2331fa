"""How a file keeps what is not committed yet while a run has it open, and how it is left behind.

A run uses a write-ahead log, so that readers and the writer do not wait for each other. A file that had a rollback
journal has the log for as long as the run has it open, unless the caller says otherwise. That is noted in the file
before the log is made: after a crash, whoever opens it next knows, and gives it back.
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
_PAUSE_S: Final = 0.05  # a reader that asks now and then has closed its connection by then


class Journal:
    """The journal of one file; the writer's thread.

    Args:
        path: The file, or ``:memory:``.
        wal: ``True``: a write-ahead log, also afterwards. ``False``: a rollback journal. ``None``: a log, which a
            file keeps that is new or had one.
        durability: See :data:`pipeloom.db.Durability`.
        has_ledger: There is a ``pipeloom_meta`` to note it in, once the file has been begun with.
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
        """Whether there is a write-ahead log while the file is open."""
        return self._is_file and self._wal is not False

    def prepare(self, conn: sqlite3.Connection, inspect: Callable[[sqlite3.Connection], object] | None) -> None:
        """Prepare a connection; one that gives the log back begins with what the file has."""
        prepare(conn, self._path, wal=self._wal, durability=self._durability, inspect=inspect)

    def settle(self, conn: sqlite3.Connection, transaction: Transaction) -> None:
        """Go over to the log, if that is still to be done; between transactions, once the ledger is there.

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
        """Set a file back to the rollback journal that it had; right before the connection is closed.

        Takes half a second at most, and says so when another connection is in the way, which SQLite does not allow.

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
                "%s had a rollback journal and is left with a write-ahead log, because another connection has it "
                "open: the next run sets it back, or you, once that is closed: sqlite3 FILE 'PRAGMA "
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
