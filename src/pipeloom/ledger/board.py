"""A run at a glance: what is running, how many have ended and how, and the first failures.

Screens and the report read it, from any thread, at any time. Counts and failures are of what was committed: the
writer keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Final

from pipeloom.data.kinds import Kind, Kinds
from pipeloom.data.text import clean, describe, kind_of
from pipeloom.data.tracebacks import drop_frames
from pipeloom.data.weights import weigh
from pipeloom.errors import RemoteError
from pipeloom.ledger.attempt import Attempt, Snapshot
from pipeloom.statuses import DONE, ERROR, RUNNING, TIMED_OUT, RunEnd, TaskStatus

__all__ = ["FEW", "Board", "KindCount"]

_KEPT_FAILURES: Final = 100
_KEPT_EXCEPTIONS: Final = 20
FEW: Final = 5
"""Exceptions of one kind that are kept: past that, one stands for all."""

_HEAVIEST: Final = 2**20  # bytes of a kept exception


@dataclass(slots=True)
class KindCount:
    """The failures of one kind so far: how many, the first one and the last one."""

    kind: Kind
    count: int
    example: Attempt
    last: Attempt


class Board:
    """What is known of a run while it goes on.

    Args:
        places: How many tasks may run at once.

    Attributes:
        slots: One place per worker for the attempt it is working on; workers write, others read.
        counts: How many tasks have ended in each state.
        skipped: How many inputs were done before this run.
        beside: How many inputs there are beside those of the caller: found on the way, and not passed as well.
        waiting: The tries that wait for their turn, in a run that has them.
        held_up: Returns how many tries wait for a limit, and for how many seconds no task at all begins.
        is_stopping: Says whether nothing more begins, though there may be more inputs.
        end: How the run ended; ``None`` while it goes on, or when an error kept it from being closed.
        failures: The first 100 attempts that did not end well.
        keeps_items: Somebody wants the inputs of tasks that have ended.
    """

    def __init__(self, places: int) -> None:
        self.slots: list[Attempt | None] = [None] * places
        self.counts: Counter[TaskStatus] = Counter()
        self.skipped = 0
        self.beside = 0
        self.waiting: Sized = ()
        self.held_up: Callable[[], tuple[int, float]] = lambda: (0, 0.0)
        self.is_stopping: Callable[[], bool] = lambda: False
        self.end: RunEnd | None = None
        self.failures: list[Attempt] = []
        self._exceptions: list[tuple[KindCount, Exception]] = []
        self.keeps_items = False
        self._kinds: dict[str, KindCount] = {}
        self._tell = Kinds()  # of what no table was written for

    @property
    def dealt_with(self) -> int:
        """How many inputs are through: ended, or skipped."""
        return sum(self.counts.values()) + self.skipped

    @property
    def kinds(self) -> list[KindCount]:
        """The kinds of failure, the most frequent first; each keeps counting."""
        counted = list(self._kinds.values())  # in one go: the writer may be adding one
        return sorted(counted, key=lambda each: -each.count)

    @property
    def exceptions(self) -> list[Exception]:
        """What tasks have raised, 20 at most: all of a kind that is rare, the first one of another.

        They have no frames; in the place of one that holds more than 1 MiB stands its text.
        """
        kept, seen = [], set()
        for counted, exception in self._exceptions:
            if counted.count <= FEW or counted.kind.id not in seen:
                kept.append(exception)
            seen.add(counted.kind.id)
        return kept

    def news(self) -> list[Snapshot]:
        """Return running attempts that the ledger does not show yet as they are; the writer's thread."""
        found = []
        for attempt in self.slots:
            if attempt is not None and attempt.status == RUNNING and not attempt.is_unshowable:
                snapshot = attempt.snapshot()
                if (
                    attempt.recorded != (snapshot.task_id, snapshot.started_at)
                    or attempt.shown is not snapshot.progress
                    or (attempt.logs and len(attempt.logs) > attempt.lines_kept and snapshot.task_id >= 0)
                ):
                    found.append(snapshot)
        return found

    def count(self, ended: Sequence[Attempt]) -> None:
        """Take the last tries of tasks into the counts, and the failed ones into the report."""
        self.counts.update([attempt.status for attempt in ended])
        for attempt in ended:
            if attempt.status != DONE:
                self._keep(attempt)

    def _keep(self, attempt: Attempt) -> None:
        exception, attempt.exception = attempt.exception, None
        counted = self._count_kind(attempt)
        if exception is not None and attempt.status in (ERROR, TIMED_OUT):
            attempt.exception_type = exception.kind if isinstance(exception, RemoteError) else kind_of(exception)
            drop_frames(exception)
            if self._has_room_for(counted):
                # SystemExit must not end the caller's program, and what was given large data would keep that.
                if not isinstance(exception, Exception) or weigh(exception) > _HEAVIEST:
                    exception = RuntimeError(f"{attempt.exception_type}: {attempt.message}")
                _add_note(exception, attempt, counted.kind)
                self._exceptions.append((counted, exception))
        if not self.keeps_items:
            attempt.item = None
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(attempt)

    def _has_room_for(self, counted: KindCount) -> bool:
        """Say whether an exception is kept: few of a kind are, and one of a new kind rather than those."""
        if counted.count > FEW:
            return False
        if len(self._exceptions) < _KEPT_EXCEPTIONS:
            return True
        if counted.count > 1:
            return False
        seen: set[str] = set()
        for place, (other, _) in enumerate(self._exceptions):
            if other.kind.id in seen:
                del self._exceptions[place]
                return True
            seen.add(other.kind.id)
        return False

    def _count_kind(self, attempt: Attempt) -> KindCount:
        """Count a failure with its like."""
        kind = attempt.kind or self._tell.of(attempt.status, attempt.message, attempt.error)
        known = self._kinds.get(kind.id)
        if known is None:
            known = self._kinds[kind.id] = KindCount(kind, 1, attempt, attempt)
        else:
            known.count += 1
            known.last = attempt
        return known


def _add_note(exception: Exception, attempt: Attempt, kind: Kind) -> None:
    """Say whose exception it is, and where it was raised: its frames are gone."""
    where = f", {kind.place}" if kind.place else ""
    try:
        BaseException.add_note(exception, clean(f"pipeloom: task {describe(attempt.known_as, 200)}{where}", 300))
    except Exception:  # noqa: BLE001 - a frozen dataclass takes none, and raises what it likes
        pass
