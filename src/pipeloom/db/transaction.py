"""The writer's transactions: begun for writing at once, and patient with other programs' locks."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from time import monotonic
from typing import Final

from pipeloom.db.connection import is_busy
from pipeloom.text import clean

__all__ = ["Transaction"]

logger = logging.getLogger("pipeloom")

_REMIND_S: Final = 10.0

# Python finds prepared statements by their text, and a prepared one is not asked about again: users' SQL must
# not find these (see ledger.guard).
_OWN: Final = " /* pipeloom */"


class Transaction:
    """Begins and ends transactions on one connection; the writer's thread.

    Args:
        conn: In autocommit mode (``isolation_level=None``).
        db_path: For the words.
    """

    def __init__(self, conn: sqlite3.Connection, db_path: Path) -> None:
        self._conn = conn
        self._path = db_path
        self.abandoned = False  # set by another thread, to end a wait

    def begin(self) -> None:
        """Begin, with the write lock; waits, visibly, while another program holds it."""
        self._patiently("BEGIN IMMEDIATE" + _OWN)

    def commit(self) -> None:
        """Commit; with a rollback journal a reader may be in the way, which is waited for as well."""
        self._patiently("COMMIT" + _OWN)

    def roll_back(self) -> None:
        """Roll back, unless SQLite already has."""
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK" + _OWN)

    def mark(self) -> None:
        """Set a point to come back to."""
        self._conn.execute("SAVEPOINT pipeloom_item" + _OWN)

    def back_to_mark(self) -> None:
        """Undo everything since the mark, which stays."""
        self._conn.execute("ROLLBACK TO pipeloom_item" + _OWN)

    def release_mark(self) -> None:
        """Keep what was done since the mark, and forget it."""
        self._conn.execute("RELEASE pipeloom_item" + _OWN)

    def _patiently(self, sql: str) -> None:
        reminded_at: float | None = None
        while True:
            try:
                self._conn.execute(sql)
                return
            except sqlite3.OperationalError as error:
                if (
                    self.abandoned
                    or not is_busy(error)
                    or (sql.startswith("COMMIT") and not self._conn.in_transaction)
                ):
                    raise
            now = monotonic()
            if reminded_at is None or now - reminded_at >= _REMIND_S:
                reminded_at = now
                logger.warning(
                    "%s is locked by another process: waiting until it lets go; nothing is lost", clean(self._path)
                )
