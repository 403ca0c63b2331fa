"""An open database: its one read-write connection, its ownership, its transactions and its maintenance.

Everything here runs in the writer's thread unless stated otherwise.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pipeloom.data.text import clean
from pipeloom.db.connection import (
    MEMORY,
    Durability,
    check_to_open,
    close_without_checkpoint,
    open_file,
)
from pipeloom.db.failures import is_busy, is_damage, out_of_memory, primary_code, storage_error
from pipeloom.db.journal import Journal
from pipeloom.db.maintenance import Maintenance
from pipeloom.db.ownership import Ownership
from pipeloom.db.transaction import Reminder, Transaction
from pipeloom.errors import StorageError, WriterBrokenError

__all__ = ["Database"]

logger = logging.getLogger("pipeloom")


class Database:
    """Opens, maintains and closes one file; ``open`` is called once.

    Args:
        path: The file, or ``:memory:``.
        wal: Use a write-ahead log rather than a rollback journal. ``None``: a log only while this has the file
            open, unless the file is new or already has one.
        durability: See :data:`pipeloom.db.Durability`.
        has_ledger: The file that ``open`` begins contains a ledger.
        claims: Take its :class:`~pipeloom.db.Ownership` with the connection, and hold it while that is open.
        owned: It belongs to a run, no matter who took the ownership.
        gives_up: Called while waiting for another program's lock; true ends the wait.

    Attributes:
        conn, transaction, maintenance: Available once ``open`` has returned.
        was_opened: ``open`` has returned.
    """

    conn: sqlite3.Connection
    transaction: Transaction
    maintenance: Maintenance

    def __init__(
        self,
        path: Path,
        *,
        wal: bool | None,
        durability: Durability,
        has_ledger: bool,
        claims: bool,
        owned: bool,
        gives_up: Callable[[], bool],
    ) -> None:
        self._path = path
        self._is_file = str(path) != MEMORY
        self._wal = wal
        self._durability: Durability = durability
        self._journal = Journal(path, wal=wal, durability=durability, has_ledger=has_ledger)
        self._claims = claims
        self._owned = owned
        self._gives_up = gives_up
        self._ownership: Ownership | None = None
        self.was_opened = False
        self._is_abandoned = False

    def open(self, inspect: Callable[[sqlite3.Connection], object] | None, begin: Callable[[], None]) -> None:
        """Open and claim the file; if another program holds its lock, wait and log that.

        Args:
            inspect: Called with the connection before a byte is changed; raises if something is wrong with it.
            begin: Creates the tables in the file; called again if another program's lock was in the way.

        Raises:
            StorageError, DatabaseInUseError: It cannot be opened or used; the file is closed.
            WriterBrokenError: It was abandoned.
        """
        check_to_open(self._path, wal=self._wal, durability=self._durability)
        if self._claims and self._is_file:
            self._ownership = Ownership(self._path, partial(open_file, self._path))
            self.conn = self._ownership.conn
        else:
            self.conn = open_file(self._path)
        try:
            self._prepare_patiently(inspect, begin)
        except BaseException as error:
            if error.__cause__ is not None and primary_code(error.__cause__) == sqlite3.SQLITE_IOERR:
                close_without_checkpoint(self.conn, self._path)  # do not use a failed disk again
            self._let_go()
            raise
        self.was_opened = True

    def _prepare_patiently(
        self, inspect: Callable[[sqlite3.Connection], object] | None, begin: Callable[[], None]
    ) -> None:
        reminder = Reminder(self._path)
        while True:
            if self._is_abandoned:
                raise WriterBrokenError("the run was abandoned")  # this releases its lock
            try:
                self._journal.prepare(self.conn, inspect)
                self._begin(begin)
                return
            except StorageError as error:
                if error.__cause__ is None or not is_busy(error.__cause__) or self._gives_up():
                    raise
            reminder.say()

    def _begin(self, begin: Callable[[], None]) -> None:
        try:
            self.transaction = Transaction(self.conn, self._path, self._gives_up)
            self.transaction.abandoned = self._is_abandoned
            begin()
            self._journal.settle(self.conn, self.transaction)
            self.maintenance = Maintenance(
                self.conn,
                self._path,
                wal=self._journal.uses_log,
                owned=self._owned,
                ownership=self._ownership,
            )
            self.transaction.pause = self.maintenance.pause
        except BaseException as error:
            if self.conn.in_transaction:
                self.conn.rollback()
            if isinstance(error, sqlite3.Error):
                raise storage_error(error, self._path) from error
            raise

    def abandon(self) -> None:
        """End every wait at once; any thread."""
        self._is_abandoned = True
        if hasattr(self, "transaction"):
            self.transaction.abandoned = True
            try:
                self.conn.interrupt()
            except sqlite3.ProgrammingError:
                pass  # it has just been closed

    def cause_of(self, error: BaseException) -> BaseException:
        """Return the error to report when one ends the writer, since SQLite gives no reason for a failure."""
        cause: BaseException
        if isinstance(error, sqlite3.Error):
            cause = self._seen_at_the_files(error) or storage_error(error, self._path)
        elif isinstance(error, MemoryError):
            cause = out_of_memory(self._path)
        else:
            return error
        cause.__cause__ = error
        return cause

    def _seen_at_the_files(self, error: sqlite3.Error) -> StorageError | None:
        try:
            if self.was_opened:
                self.maintenance.explain(error)
        except StorageError as found:
            return found
        return None

    def close(self, tables: Iterable[str], *, has_failed: bool) -> sqlite3.Error | None:
        """Refresh statistics, run a checkpoint and close, whatever happened before, and release the file.

        Args:
            tables: The tables that were written to.
            has_failed: The disk has failed, and must not be used again.

        Returns:
            The damage that was found, if any.
        """
        damage: sqlite3.Error | None = None
        try:
            if self.conn.in_transaction:
                self.conn.rollback()
            if not has_failed:
                with self.maintenance.at_work():
                    self.maintenance.at_close(tables)
                self.maintenance.release()
                self._journal.give_back(self.conn)
        except sqlite3.Error as error:
            if is_damage(error):
                damage = error
            else:
                logger.warning("%s: at closing: %s; what was committed is safe", clean(self._path), clean(error))
        finally:
            self.maintenance.release()
            if has_failed or damage is not None:
                close_without_checkpoint(self.conn, self._path)
            self._let_go()
        return damage

    def _let_go(self) -> None:
        self.conn.close()
        if self._ownership is not None:
            self._ownership.release()
