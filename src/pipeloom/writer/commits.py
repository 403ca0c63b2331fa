"""A batch becomes one commit, or, when something in it is refused, as few as it takes; the writer's thread.

::

    batch ──▶ BEGIN ▸ apply all ▸ COMMIT
                │ refused
                └▶ BEGIN ▸ each under a savepoint ▸ COMMIT        only the task at fault fails
                     │ the transaction is lost, or its COMMIT refused
                     └▶ each in a transaction of its own

Errors of the file or the machine are not looked into: they end the writer. Foreign code may raise anything,
SystemExit too; a real Ctrl-C reaches the main thread only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pipeloom.db.failures import is_busy, is_fatal
from pipeloom.db.transaction import Reminder, Transaction
from pipeloom.ledger import Batch, Ledger
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.ledger.refuse import refuse

__all__ = ["Commits"]

T = TypeVar("T")


class Commits:
    """Applies batches to the ledger and commits them.

    Args:
        conn: The writer's connection.
        transaction: Its transactions.
        ledger: What is written.
        db_path: For the words.
    """

    def __init__(self, conn: sqlite3.Connection, transaction: Transaction, ledger: Ledger, db_path: Path) -> None:
        self._path = db_path
        self._conn = conn
        self._transaction = transaction
        self._ledger = ledger

    def transact(self, function: Callable[[Ledger], T]) -> T:
        """Run a function that writes, in a transaction of its own."""
        self._transaction.open()
        try:
            value = function(self._ledger)
            self._transaction.commit()
        except BaseException:
            self._roll_back()
            raise
        return value

    def write(self, items: list[object]) -> list[Batch]:
        """Commit what was said as one batch if that goes, else one by one.

        Returns:
            What was done, 1 to n parts; all of it is committed.

        Raises:
            sqlite3.Error: The file or the machine failed; whether the batch is on file is unknown.
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
                # With a rollback journal what another program locks cannot be read either, as is done before BEGIN.
                waits = is_busy(error) and not self._conn.in_transaction
                self._roll_back()
                if not waits:
                    return self._singly(items)
            else:
                self._note(batch)
                return [batch]
            reminder.say()

    def _ends_it(self, error: BaseException) -> bool:
        """Say whether an error is not to be looked into; nor is any once the writer has been abandoned."""
        return is_fatal(error) or self._transaction.abandoned

    def _singly(self, items: list[object]) -> list[Batch]:
        """Find what is at fault: each item under a savepoint of one transaction.

        When that loses the transaction, or its COMMIT is refused (deferred foreign keys), each in its own. Several
        items may be of one attempt: what the ledger has of it is noted before the next one, and taken back if lost.
        """
        self._transaction.begin()
        applied: list[Batch] = []
        saved = _saved(items)
        try:
            for item in items:
                self._transaction.mark()
                try:
                    done = self._ledger.apply([item], with_live=False)
                except BaseException as error:
                    if self._ends_it(error) or not self._conn.in_transaction:
                        raise
                    self._transaction.back_to_mark()
                    self._ledger.forget_schema()
                    done = refuse(self._ledger, item, error)
                self._transaction.release_mark()
                self._note(done)
                applied.append(done)
            self._store_counts(applied)
            self._transaction.commit()
        except BaseException as error:
            if self._ends_it(error):
                raise
            self._roll_back(applied)
            for attempt, state in saved.items():
                attempt.restore(state)
            applied = []
            for item in items:
                applied.append(self._alone(item, applied))
        return applied + self._show_live()

    def _alone(self, item: object, before: list[Batch]) -> Batch:
        self._transaction.begin()
        try:
            batch = self._ledger.apply([item], with_live=False)
            self._store_counts([*before, batch])
            self._transaction.commit()
        except BaseException as error:
            if self._ends_it(error):
                raise
            self._roll_back()
            self._transaction.begin()
            batch = refuse(self._ledger, item, error)
            self._store_counts([*before, batch])
            self._transaction.commit()
        self._note(batch)
        return batch

    def _note(self, batch: Batch) -> None:
        if self._ledger.run is not None:
            self._ledger.run.note(batch)

    def _store_counts(self, applied: list[Batch]) -> None:
        if self._ledger.run is not None:
            self._ledger.run.store_counts([attempt for done in applied for attempt in done.finished])

    def _show_live(self) -> list[Batch]:
        """Running attempts are part of every batch; one that cannot be shown must not spoil the next ones."""
        shown: list[Batch] = []
        run = self._ledger.run
        for snapshot in run.board.news() if run is not None else ():
            self._transaction.begin()
            try:
                batch = self._ledger.show_live(snapshot)
                self._transaction.commit()
            except BaseException as error:
                if self._ends_it(error):
                    raise
                self._roll_back()
                snapshot.attempt.refused = error
            else:
                self._note(batch)
                shown.append(batch)
        return shown

    def _roll_back(self, noted: Sequence[Batch] = ()) -> None:
        self._transaction.roll_back()
        self._ledger.forget_schema()
        if self._ledger.run is not None:
            self._ledger.run.lost(noted)


def _saved(items: list[object]) -> dict[Attempt, dict[str, object]]:
    """Return the attempts of a batch with what the writer may make of them, and may have to undo."""
    ended = {item for item in items if type(item) is Attempt}
    going_on = {item.attempt for item in items if isinstance(item, Spoken | StagedCheckpoint)} - ended
    return {
        **{attempt: attempt.saved(has_ended=True) for attempt in ended},
        **{attempt: attempt.saved(has_ended=False) for attempt in going_on},
    }
