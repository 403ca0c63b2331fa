"""What a list of tasks is filtered by: as an address says it, and as the ledger takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeloom.data.clock import unix_time, utc_ago
from pipeloom.history import History
from pipeloom.statuses import FAILED
from pipeloom.web.pieces import FAILURES

__all__ = ["WITHIN", "TaskFilter"]

WITHIN: Final[Mapping[str, tuple[str, float]]] = {
    "10m": ("last 10 minutes", 600.0),
    "1h": ("last hour", 3_600.0),
    "1d": ("last day", 86_400.0),
    "7d": ("last week", 604_800.0),
}
"""Word of an address → what it is called, and seconds."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks, and in what order; all of it combines.

    Attributes:
        status: One, or ``failures`` for all that are no good end.
        word: Part of the name or key.
        run_id: Last tried in this run.
        kind: Of this kind of failure: its id, or what ``pipeloom errors --kind`` takes.
        message: Part of the message or of the exception.
        within: Ended since so long ago, one of :data:`WITHIN`.
        since: Ended at this instant or later.
        until: Ended at this instant or earlier.
        slowest: In order of the time taken.
    """

    status: str | None = None
    word: str | None = None
    run_id: int | None = None
    kind: str | None = None
    message: str | None = None
    within: str | None = None
    since: str | None = None
    until: str | None = None
    slowest: bool = False

    def query(self, **other: Any) -> dict[str, Any]:
        """Return it as the query of an address, with changes; ``None`` leaves a filter out."""
        told = {
            "status": self.status,
            "q": self.word,
            "run": self.run_id,
            "kind": self.kind,
            "message": self.message,
            "within": self.within,
            "since": self.since,
            "until": self.until,
            "order": "slowest" if self.slowest else None,
        }
        return {key: value for key, value in {**told, **other}.items() if value is not None}

    def asked(self, history: History) -> dict[str, Any]:
        """Return it as ``History.tasks`` takes it, as of now; an instant that is none filters nothing."""
        choice = WITHIN.get(self.within or "")
        since = [at for at in (self.since, utc_ago(choice[1]) if choice else None) if unix_time(at) is not None]
        return {
            "status": FAILED if self.status == FAILURES else self.status,
            "name": self.word,
            "run_id": self.run_id,
            "kind": (history.kinds_named(self.kind) or [self.kind]) if self.kind else None,
            "message": self.message,
            "since": max(since, key=lambda at: unix_time(at) or 0.0) if since else None,
            "until": self.until if unix_time(self.until) is not None else None,
        }
