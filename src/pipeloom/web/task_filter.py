"""The filters of a task list: as they appear in an address, and as the ledger takes them."""

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
"""Key in an address → label, and seconds."""


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks, and in what order; all filters combine.

    Attributes:
        status: One status, or ``failures`` for all that are not done.
        word: Part of the name or key.
        run_id: The run of the last attempt.
        kind: The kind of failure: its id, or what ``pipeloom errors --kind`` takes.
        message: Part of the message or of the exception.
        within: Ended within this period, a key of :data:`WITHIN`.
        since: Ended at this instant or later.
        until: Ended at this instant or earlier.
        slowest: Slowest tasks first.
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
        """Return the filters as the query of an address, with changes; ``None`` removes a filter."""
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
        """Return the filters as ``History.tasks`` takes them, as of now; an invalid instant filters nothing."""
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
