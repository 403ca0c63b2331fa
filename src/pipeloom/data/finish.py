"""A worker's own word on how its task ended, judged once for all who hear it."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeloom.data.text import clean, describe, storable
from pipeloom.data.values import as_json
from pipeloom.errors import LedgerError
from pipeloom.messages import MsgTaskFinished
from pipeloom.statuses import REPORTED, TaskStatus

__all__ = ["Finish", "judged"]


class Finish(NamedTuple):
    """How a task ended, storable."""

    status: TaskStatus
    message: str | None
    result: str | None
    finished_at: str | None


def judged(said: MsgTaskFinished) -> Finish:
    """Take a worker's word for it; text is kept as it is, another result becomes JSON.

    Raises:
        LedgerError: It says something that no task can end with, or a result that is not JSON.
    """
    for status in REPORTED:
        if said.status == status:
            return Finish(status, _text(said.message), _result(said.result), _text(said.finished_at))
    allowed = ", ".join(f'"{status}"' for status in REPORTED[:-1]) + f' or "{REPORTED[-1]}"'
    raise LedgerError(f"a task finishes as {allowed}, not {clean(said.status, 40)!r}")


def _text(said: object) -> str | None:
    """Return what ought to be text; ``None`` stays what it is: nothing was said."""
    return None if said is None else storable(said if type(said) is str else describe(said))


def _result(said: Any) -> str | None:
    if said is None:
        return None
    if type(said) is str:
        return storable(said)
    try:
        return as_json(said)
    except ValueError as error:
        raise LedgerError(f"the result cannot be stored: {error}") from error
