"""SQL expressions for the kind of a failure: as stored in the ledger, or computed if it is not stored.

A file that was written by an older version, and that no run has opened since, lacks these columns. In rows that a
user wrote by hand they are empty.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pipeloom.data.kinds import Kinds
from pipeloom.data.text import words
from pipeloom.history.dead import DeadRuns
from pipeloom.statuses import FAILED

__all__ = ["FAILURE", "KindColumns", "Teller"]

FAILURE: Final = "failure"
"""The SQL function that computes a kind: (part, status, message, error) → text, or NULL if it is not a failure."""

Part = Literal["exception", "place", "message_template", "kind"]

_MESSAGE: Final = "substr({0}.message, 1, 400)"
_ERROR: Final = "substr({0}.error, -8000)"


class Teller:
    """The function behind :data:`FAILURE`; used in one thread."""

    def __init__(self) -> None:
        self._kinds = Kinds()

    def __call__(self, part: str, status: Any, message: Any, error: Any) -> str | None:
        """Return one part of a failure's kind."""
        status = words(status)
        if status not in FAILED:
            return None
        kind = self._kinds.of(status, message, error)
        return {
            "exception": kind.exception,
            "place": kind.place,
            "message_template": kind.message,
            "kind": kind.id,
        }[part]


class KindColumns:
    """SQL expressions for the parts of a kind, of a task ``t`` or a past attempt ``a``.

    Args:
        dead: Runs whose process is gone.
        stored: The file has the columns.
    """

    def __init__(self, dead: DeadRuns, *, stored: bool) -> None:
        self.stored: Final = stored
        self.dead: Final = dead

    def of_task(self, part: Part) -> str:
        """Return the expression for a task."""
        message = self.dead.message(_MESSAGE.format("t"))
        return self._either("t", part, _told(part, self.dead.status, message, _ERROR.format("t")))

    def of_try(self, part: Part) -> str:
        """Return the expression for a past attempt."""
        return self._either("a", part, _told(part, "a.status", _MESSAGE.format("a"), _ERROR.format("a")))

    def _either(self, row: str, part: Part, told: str) -> str:
        if not self.stored:
            return told
        # For most rows the status is enough; calling the function takes longer than everything else.
        return (
            f"CASE WHEN {row}.status = 'done' THEN NULL WHEN {row}.kind IS NULL THEN {told} "
            f"WHEN {row}.status IN {FAILED} THEN {row}.{part} END"
        )


def _told(part: Part, *columns: str) -> str:
    """Return the function call in SQL; it passes bytes, since not all text in a file can be decoded."""
    return f"{FAILURE}('{part}', {', '.join(f'CAST({column} AS BLOB)' for column in columns)})"
