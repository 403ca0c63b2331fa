"""Record an item that could not be applied: only its own task fails, and the rest of the batch is stored.

Runs in the writer's thread, inside a transaction of the writer's that has already begun in SQLite.
"""

from __future__ import annotations

from pipeloom.data.clock import utc_now
from pipeloom.data.keys import task_number
from pipeloom.data.text import attribute, clean, describe, kind_of
from pipeloom.db.failures import is_fatal
from pipeloom.errors import LedgerError
from pipeloom.ledger.apply import Ledger
from pipeloom.ledger.attempt import Attempt, Spoken, StagedCheckpoint
from pipeloom.ledger.fold import Batch
from pipeloom.ledger.rejections import reason_of
from pipeloom.messages import MsgTaskFinished
from pipeloom.statuses import ERROR

__all__ = ["refuse"]


def refuse(ledger: Ledger, item: object, error: BaseException) -> Batch:
    """Record an item that could not be applied.

    Args:
        ledger: Where it is recorded.
        item: The item from the channel.
        error: Why it could not be applied.

    Returns:
        A batch with what was written, and what to report once it has committed.
    """
    if isinstance(item, Attempt):
        return _refuse_attempt(ledger, item, error)
    batch = Batch()
    if isinstance(item, StagedCheckpoint):
        ledger.transaction.note(item.attempt, refused=error)
        batch.refused.append((item, error))
    elif isinstance(item, Spoken):
        ledger.transaction.note(item.attempt, refused=error)
        batch.warnings.append(_reject(ledger, item.attempt.task_id, item.message, error))
    else:
        warning = _reject(ledger, attribute(item, "task_id"), item, error)
        if isinstance(item, MsgTaskFinished):
            batch = _fail_numbered(ledger, item, error)
        batch.warnings.append(warning)
    return batch


def _refuse_attempt(ledger: Ledger, attempt: Attempt, error: BaseException) -> Batch:
    reason = reason_of(error)
    outcome = attempt.failed(error, reason, f"{kind_of(error)}: {reason}")
    ledger.transaction.note(attempt, **outcome)
    try:
        with ledger.transaction.apart():
            return ledger.apply([attempt], with_live=False)
    except Exception as again:
        if is_fatal(again):
            raise
        ledger.transaction.note(attempt, row="none")
        return ledger.apply([attempt], with_live=False)


def _reject(ledger: Ledger, number: object, message: object, error: BaseException) -> str:
    """Store what was refused, and return a sentence about it for the log."""
    reason = reason_of(error)
    ledger.rejections.keep(number, kind_of(message), describe(message, 2000), reason)
    return f"{clean(kind_of(message), 80)} refused: {clean(reason, 500)}"


def _fail_numbered(ledger: Ledger, message: MsgTaskFinished, error: BaseException) -> Batch:
    """Record a failed end for a task whose finish message was refused."""
    try:
        number = task_number(message.task_id)
        spare = MsgTaskFinished(number, ERROR, utc_now(), None, clean(reason_of(error), 500))
        with ledger.transaction.apart():
            return ledger.apply([spare], with_live=False)
    except LedgerError:  # not a valid number, or another task's: there is no row to update
        return Batch()
