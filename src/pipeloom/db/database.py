"""An open database: its one read-write connection, whose it is, its transactions, and who looks after the file.

Everything here runs in the writer's thread unless it says otherwise.
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
    """Opens, looks after and closes one file; ``open`` is called once.

    Args:
        path: The file, or ``:memory:``.
        wal: Write-ahead log rather than a rollback journal; ``None`` is one only for as long as this has the file
            open, unless that is new or has one.
        durability: See :data:`pipeloom.db.Durability`.
        has_ledger: What ``open`` begins is a ledger.
        claims: Take its :class:`~pipeloom.db.Ownership` with the connection, and hold it as long as that is open.
        owned: It is a run's, whoever took the ownership.
        gives_up: Asked while another program's lock is waited for; true ends the wait.

    Attributes:
        conn, transaction, maintenance: What there is once ``open`` has returned.
        was_opened: It has.
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
        """Open the file, and claim it; wait, visibly, while another program holds its lock.

        Args:
            inspect: Called with the connection before a byte is changed; raises what is wrong with the file.
            begin: Makes what is kept in the file; called again when another program's lock was in the way.

        Raises:
            StorageError, DatabaseInUseError: It cannot be opened, or used; the file is closed.
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
                close_without_checkpoint(self.conn, self._path)  # a disk that failed is not asked again
            self._let_go()
            raise
        self.was_opened = True

    def _prepare_patiently(
        self, inspect: Callable[[sqlite3.Connection], object] | None, begin: Callable[[], None]
    ) -> None:
        reminder = Reminder(self._path)
        while True:
            if self._is_abandoned:
                raise WriterBrokenError("the run was abandoned")  # and its lock is given back
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
        """Have whatever is waited for end at once; any thread."""
        self._is_abandoned = True
        if hasattr(self, "transaction"):
            self.transaction.abandoned = True
            try:
                self.conn.interrupt()
            except sqlite3.ProgrammingError:
                pass  # it has just closed

    def cause_of(self, error: BaseException) -> BaseException:
        """Return what to tell of an error that ends the writer: SQLite only says that it failed."""
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
        """Refresh statistics, checkpoint, close, whatever happened before, and let others have the file.

        Args:
            tables: Those that were written to.
            has_failed: A disk that failed is not asked again.

        Returns:
            The damage that was found on the way.
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
