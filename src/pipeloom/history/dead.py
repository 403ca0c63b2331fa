"""Runs that say ``running`` while their process is gone, and what that makes of their tasks, in SQL.

A task of such a run that says ``running`` or ``queued`` counts as ``interrupted``, as it will in the file once
another run opens it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeloom.db.schema import last_words
from pipeloom.statuses import INTERRUPTED, OPEN, RUNNING

__all__ = ["DeadRuns", "numbers"]


class DeadRuns:
    """Some runs, maybe none, as expressions about a task ``t``.

    Args:
        runs: Their numbers.

    Attributes:
        theirs: The task was last tried in one of them.
        not_theirs: It was not.
        cut_short: It says that there is more to come, and there is not.
        status: Its status.
        elapsed: Seconds taken, until ``:now`` while it is running.
    """

    def __init__(self, runs: Iterable[int] = ()) -> None:
        self.runs: Final = frozenset(runs)
        # A column that is named is read, even where the answer is plain: it would cost the counts their index.
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
        """Return its message; ``said`` is the expression for what it said last, which is no reason."""
        return f"CASE WHEN {self.cut_short} THEN {last_words(said, 't.status', 't.started_at')} ELSE {said} END"


def numbers(values: Iterable[int]) -> str:
    """Return numbers, n ≥ 1, as a list in SQL."""
    return f"({', '.join(str(int(value)) for value in values)})"
