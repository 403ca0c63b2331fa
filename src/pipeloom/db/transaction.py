"""The writer's transactions: opened for writing at once, patient with other programs' locks, undone in memory, too.

What the writer records in memory about what it writes is part of the transaction that writes it: a rollback undoes
both, so that whatever was lost can be applied again as if for the first time.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final

from pipeloom.data.text import clean
from pipeloom.db.failures import is_busy, is_fatal
from pipeloom.errors import WriterBrokenError

__all__ = ["Reminder", "Transaction"]

logger = logging.getLogger("pipeloom")

_REMIND_S: Final = 10.0


class Reminder:
    """Logs from time to time that the writer is waiting for another program's lock."""

    def __init__(self, db_path: Path) -> None:
        self._path = db_path
        self._said_at: float | None = None

    def say(self) -> None:
        """Log it, unless it was logged in the last ten seconds."""
        now = monotonic()
        if self._said_at is None or now - self._said_at >= _REMIND_S:
            self._said_at = now
            logger.warning(
                "%s is locked by another process: waiting until it is unlocked; nothing is lost", clean(self._path)
            )


class Transaction:
    """Begins and ends transactions on one connection; the writer's thread.

    A single statement is its own transaction, and most batches of quick tasks are a single statement. SQLite
    releases the interpreter lock at every step, and beside two computing threads each release costs 5 to 10 ms:
    BEGIN and COMMIT around a single statement would turn one step into three.

    Args:
        conn: In autocommit mode (``isolation_level=None``).
        db_path: For log lines and errors.
        give_up: Called between two waits for another program's lock; if true, the error is raised.
    """

    def __init__(
        self, conn: sqlite3.Connection, db_path: Path, give_up: Callable[[], bool] = lambda: False
    ) -> None:
        self._conn = conn
        self._path = db_path
        self._give_up = give_up
        self._held: tuple[str, Sequence[Any]] | None = None
        self._undo: list[Callable[[], object]] = []
        self.abandoned = False  # set by another thread, to end a wait
        self.pause: Callable[[], None] = lambda: None  # called now and then during a wait

    def begin(self) -> None:
        """Begin a unit of work; SQLite's transaction begins once there is more than one statement."""
        self._held = None

    def write(self, sql: str, params: Sequence[object]) -> None:
        """Run a statement in order, at ``commit`` at the latest."""
        if self._conn.in_transaction:
            self._conn.execute(sql, params)
        elif self._held is None:
            self._held = sql, params
        else:
            self.open()
            self._conn.execute(sql, params)

    def open(self) -> None:
        """Begin SQLite's transaction, with the write lock; waits and logs while another program holds it."""
        if not self._conn.in_transaction:
            self._patiently("BEGIN IMMEDIATE")
            self.check_wanted()
            held, self._held = self._held, None
            if held is not None:
                self._conn.execute(*held)

    def commit(self) -> None:
        """Commit; waits for other programs, and with a rollback journal also for readers."""
        held, self._held = self._held, None
        if held is not None:
            self._patiently(*held)
        elif self._conn.in_transaction:
            self.check_wanted()
            self._patiently("COMMIT")
        self._undo.clear()

    def roll_back(self) -> None:
        """Roll back, unless SQLite already has, and undo what was recorded in memory."""
        self._held = None
        if self._conn.in_transaction:
            self._conn.execute("ROLLBACK")
        self._take_back(0)

    def check_wanted(self) -> None:
        """Roll back if the run was abandoned, so that nothing waits for this transaction any more.

        Raises:
            WriterBrokenError: It was abandoned.
        """
        if self.abandoned:
            self.roll_back()
            raise WriterBrokenError("the run was abandoned")

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Undo what is written and recorded within if it raises, and nothing else.

        An error that concerns the file, or that lost the whole transaction, leaves everything to ``roll_back``.
        """
        self.open()
        self._conn.execute("SAVEPOINT pipeloom_item")
        begun = len(self._undo)
        try:
            yield
        except BaseException as error:
            if self._conn.in_transaction and not is_fatal(error) and not self.abandoned:
                self._conn.execute("ROLLBACK TO pipeloom_item")
                self._conn.execute("RELEASE pipeloom_item")
                self._take_back(begun)
            raise
        self._conn.execute("RELEASE pipeloom_item")

    # --- what is recorded in memory ---

    def note(self, thing: object, **values: object) -> None:
        """Set attributes of an object that only the writer sets; they are reset if this transaction is lost.

        Args:
            thing: The object.
            values: Attribute → value; the values must be replaced, not mutated.
        """
        before = {name: getattr(thing, name) for name in values}
        self._undo.append(lambda: _set(thing, before))
        _set(thing, values)

    def if_lost(self, undo: Callable[[], object]) -> None:
        """Register a call for the case that this transaction is lost; the last one runs first, none may raise."""
        self._undo.append(undo)

    def _take_back(self, begun: int) -> None:
        while len(self._undo) > begun:
            self._undo.pop()()

    def _patiently(self, sql: str, params: Sequence[object] = ()) -> None:
        reminder = Reminder(self._path)
        while True:
            try:
                self._conn.execute(sql, params)
                return
            except sqlite3.OperationalError as error:
                if (
                    self.abandoned
                    or self._give_up()
                    or not is_busy(error)
                    or (sql.startswith("COMMIT") and not self._conn.in_transaction)
                ):
                    raise
            reminder.say()
            self.pause()


def _set(thing: object, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        setattr(thing, name, value)
