"""Messages and inputs that the ledger refuses, kept in ``pipeloom_rejected``."""

from __future__ import annotations

from pipeloom.data.clock import utc_now
from pipeloom.data.text import describe, storable
from pipeloom.db.transaction import Transaction
from pipeloom.ledger.attempt import Attempt

__all__ = ["Rejections", "reason_of"]


class Rejections:
    """Write ``pipeloom_rejected``; the writer's thread, inside its transaction.

    Args:
        transaction: The writer's transactions.
        has_ledger: The file has such a table.
    """

    def __init__(self, transaction: Transaction, *, has_ledger: bool) -> None:
        self._write = transaction.write
        self._has_ledger = has_ledger
        self.run_id: int | None = None

    def keep(self, number: object, kind: str, content: str, error: str) -> None:
        """Store what was refused.

        Args:
            number: The number of the task that it came from, if known.
            kind: The type of the message or input.
            content: Its text.
            error: Why it was refused.
        """
        if not self._has_ledger:
            return
        task_id = number if type(number) is int and abs(number) < 1 << 63 else None
        self._write(
            "INSERT INTO pipeloom_rejected (run_id, task_id, at, kind, content, error) VALUES (?, ?, ?, ?, ?, ?)",
            (self.run_id, task_id, utc_now(), storable(kind), storable(content), storable(error)),
        )

    def keep_input(self, attempt: Attempt) -> None:
        """Store a task that has no row of its own, since the row of its key or number is another task's."""
        self.keep(attempt.task_id, "input", attempt.name, attempt.message or "")


def reason_of(error: BaseException) -> str:
    """Return an error's text, preceded by its notes, which say where it occurred and what to do."""
    return "; ".join([*getattr(error, "__notes__", ()), describe(error)])
