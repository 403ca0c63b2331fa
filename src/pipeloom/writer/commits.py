"""Commits each batch in one transaction, or in as few as possible if something is refused; the writer's thread.

::

    batch ──▶ BEGIN ▸ apply all ▸ COMMIT
                │ refused
                └▶ BEGIN ▸ each under a savepoint ▸ COMMIT        only the task at fault fails
                     │ the transaction is lost, or its COMMIT refused
                     └▶ each in a transaction of its own

A lost transaction leaves no trace: the ledger's notes in memory are rolled back with it. The outcome of an item
therefore depends on what was committed before it, not on how often it was applied.

An output that is in a spool file, because it was too large for memory, is a batch of its own: earlier items are
committed first, and are not applied again if it is refused.

Errors of the file or the machine are not attributed to an item: they end the writer. Foreign code may raise
anything, including SystemExit; a real Ctrl-C reaches only the main thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pipeloom.db.failures import is_busy, is_fatal
from pipeloom.db.transaction import Reminder, Transaction
from pipeloom.ledger import Batch, Ledger
from pipeloom.ledger.attempt import is_spooled
from pipeloom.ledger.refuse import refuse

__all__ = ["Commits", "batches_of"]

T = TypeVar("T")


def batches_of(items: list[object]) -> Iterator[list[object]]:
    """Cut items into batches, in order: a single batch, unless there is a large output among them."""
    begin = 0
    for place in [place for place, item in enumerate(items) if is_spooled(item)]:
        if begin < place:
            yield items[begin:place]
        yield [items[place]]
        begin = place + 1
    if begin < len(items) or not items:
        yield items[begin:]


class Commits:
    """Applies batches to the ledger and commits them.

    Args:
        conn: The writer's connection.
        transaction: Its transactions.
        ledger: The ledger that is written.
        db_path: The file, for log messages.
    """

    def __init__(self, conn: sqlite3.Connection, transaction: Transaction, ledger: Ledger, db_path: Path) -> None:
        self._path = db_path
        self._conn = conn
        self._transaction = transaction
        self._ledger = ledger

    def transact(self, function: Callable[[Ledger], T]) -> T:
        """Run a function that writes in a transaction of its own, and return its value."""
        self._transaction.open()
        try:
            value = function(self._ledger)
            self._transaction.commit()
        except BaseException:
            self._transaction.roll_back()
            raise
        return value

    def write(self, items: list[object]) -> list[Batch]:
        """Commit items as one batch if possible, otherwise one by one.

        Returns:
            The batches as applied, 1 to n; all of them are committed.

        Raises:
            sqlite3.Error: The file or the machine failed; it is unknown whether the batch was committed.
        """
        reminder = Reminder(self._path)
        while True:
            self._transaction.begin()
            try:
                batch = self._ledger.apply(items)
                self._transaction.commit()
            except BaseException as error:
                if self._ends_it(error):
                    raise
                # With a rollback journal another program's lock also blocks reads, which happen before BEGIN.
                waits = is_busy(error) and not self._conn.in_transaction
                self._transaction.roll_back()
                if not waits:
                    return self._singly(items)
            else:
                return [batch]
            reminder.say()

    def _ends_it(self, error: BaseException) -> bool:
        """Return whether an error ends the writer; once it has been abandoned, every error does."""
        return is_fatal(error) or self._transaction.abandoned

    def _singly(self, items: list[object]) -> list[Batch]:
        """Find the item at fault: apply each item under a savepoint of one transaction.

        If that loses the transaction, or its COMMIT is refused (deferred foreign keys), use one transaction per
        item.
        """
        self._transaction.open()
        try:
            applied = [self._apply_or_refuse(item) for item in items]
            self._store_counts(applied)
            self._transaction.commit()
        except BaseException as error:
            if self._ends_it(error):
                raise
            self._transaction.roll_back()
            applied = []
            for item in items:
                applied.append(self._alone(item, applied))
        return applied + self._show_live()

    def _apply_or_refuse(self, item: object) -> Batch:
        try:
            with self._transaction.apart():
                return self._ledger.apply([item], with_live=False)
        except BaseException as error:
            if self._ends_it(error) or not self._conn.in_transaction:
                raise
            return refuse(self._ledger, item, error)

    def _alone(self, item: object, before: list[Batch]) -> Batch:
        self._transaction.open()
        try:
            batch = self._apply_or_refuse(item)
            self._store_counts([*before, batch])
            self._transaction.commit()
        except BaseException as error:
            if self._ends_it(error):
                raise
            self._transaction.roll_back()
            self._transaction.open()
            batch = refuse(self._ledger, item, error)
            self._store_counts([*before, batch])
            self._transaction.commit()
        return batch

    def _store_counts(self, applied: list[Batch]) -> None:
        if self._ledger.run is not None:
            self._ledger.run.store_counts([attempt for done in applied for attempt in done.finished])

    def _show_live(self) -> list[Batch]:
        """Store the progress of running attempts one by one: if one is refused, the others are unaffected."""
        shown: list[Batch] = []
        run = self._ledger.run
        for snapshot in run.board.news() if run is not None else ():
            self._transaction.open()  # otherwise a lock met by the reads below would look like a fault of the item
            try:
                batch = self._ledger.show_live(snapshot)
                self._transaction.commit()
            except BaseException as error:
                if self._ends_it(error):
                    raise
                self._transaction.roll_back()
                snapshot.attempt.refused, snapshot.attempt.is_unshowable = error, True
            else:
                shown.append(batch)
        return shown
