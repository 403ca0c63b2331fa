"""SQL expressions for tasks of dead runs: those with the status ``running`` whose process is gone.

A task of such a run with the status ``running`` or ``queued`` counts as ``interrupted``, and is stored as such once
another run opens the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeloom.db.schema import last_words
from pipeloom.statuses import INTERRUPTED, OPEN, RUNNING

__all__ = ["DeadRuns", "numbers"]


class DeadRuns:
    """SQL expressions on a task ``t``, given the dead runs.

    Args:
        runs: The numbers of the dead runs; may be empty.

    Attributes:
        theirs: The task's last attempt was in one of them.
        not_theirs: The task's last attempt was not in one of them.
        cut_short: The task is stored as open, but its run is dead.
        status: The task's status.
        elapsed: Seconds taken; until ``:now`` while it is running.
    """

    def __init__(self, runs: Iterable[int] = ()) -> None:
        self.runs: Final = frozenset(runs)
        # SQLite reads every column that is named, even if the result is constant; counts would lose their index.
        self.theirs: Final = f"t.run_id IN {numbers(self.runs)}" if self.runs else "0"
        self.not_theirs: Final = f"(t.run_id IS NULL OR NOT {self.theirs})" if self.runs else "1"
        self.cut_short: Final = f"t.status IN {OPEN} AND {self.theirs}"
        self.status: Final = f"CASE WHEN {self.cut_short} THEN '{INTERRUPTED}' ELSE t.status END"
        self.elapsed: Final = (
            f"COALESCE(t.elapsed_s, CASE WHEN t.status = '{RUNNING}' AND {self.not_theirs} THEN "
            "MAX(0.0, (julianday(:now) - julianday(t.started_at)) * 86400.0) END)"
        )

    def __contains__(self, run_id: int) -> bool:
        return run_id in self.runs

    def __bool__(self) -> bool:
        return bool(self.runs)

    def message(self, said: str) -> str:
        """Return the expression for a task's message.

        Args:
            said: The expression for the last message that it sent, which does not explain its end.
        """
        return f"CASE WHEN {self.cut_short} THEN {last_words(said, 't.status', 't.started_at')} ELSE {said} END"


def numbers(values: Iterable[int]) -> str:
    """Return n ≥ 1 numbers as an SQL list."""
    return f"({', '.join(str(int(value)) for value in values)})"
