"""How a task ended according to its worker, checked in one place for the whole writer."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeloom.data.text import clean, describe, storable
from pipeloom.data.values import as_json
from pipeloom.errors import LedgerError
from pipeloom.messages import MsgTaskFinished
from pipeloom.statuses import REPORTED, TaskStatus

__all__ = ["Finish", "judged"]


class Finish(NamedTuple):
    """How a task ended, in storable form."""

    status: TaskStatus
    message: str | None
    result: str | None
    finished_at: str | None


def judged(said: MsgTaskFinished) -> Finish:
    """Check what a worker reports; text is kept as it is, any other result becomes JSON.

    Raises:
        LedgerError: The reported status is not a way in which a task can end, or the result is not JSON.
    """
    for status in REPORTED:
        if said.status == status:
            return Finish(status, _text(said.message), _result(said.result), _text(said.finished_at))
    allowed = ", ".join(f'"{status}"' for status in REPORTED[:-1]) + f' or "{REPORTED[-1]}"'
    raise LedgerError(f"a task finishes as {allowed}, not {clean(said.status, 40)!r}")


def _text(said: object) -> str | None:
    """Return what should be text; ``None`` means that nothing was reported, and stays ``None``."""
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
