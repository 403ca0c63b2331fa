"""Overview of a run: running attempts, counts of ended tasks by status, and the first failures.

Displays and the report read it from any thread, at any time. The writer updates counts and failures after each
commit, so they cover committed tasks only.
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
"""How many exceptions of one kind are kept; of a kind with more than that, only the first is shown."""

_HEAVIEST: Final = 2**20  # bytes of a kept exception


@dataclass(slots=True)
class KindCount:
    """The failures of one kind so far: their number, the first one and the last one."""

    kind: Kind
    count: int
    example: Attempt
    last: Attempt


class Board:
    """The state of a run that displays and the report read.

    Args:
        places: How many tasks may run at once.

    Attributes:
        slots: One place per worker for the attempt that it is running; workers write, others read.
        counts: How many tasks have ended with each status.
        skipped: How many inputs were done before this run.
        beside: How many inputs the run has in addition to the caller's: those that tasks found and that were not
            passed as well.
        waiting: The attempts that wait for a retry, in a run with retries.
        held_up: Returns how many attempts wait for a limit, and for how many seconds no task at all can start.
        is_stopping: Returns whether the run starts no more tasks, although it may have more inputs.
        end: How the run ended; ``None`` while it is in progress, or if it was not closed.
        was_left: The user left the run at once, without closing it.
        took_s: How long the run took, from the call to its end; ``None`` while it is in progress, or if it was not
            closed.
        failures: The first 100 failed attempts, including cancelled and timed-out ones.
        keeps_items: Keep the inputs of tasks that have ended: a caller needs them.
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
        self.was_left = False
        self.took_s: float | None = None
        self.failures: list[Attempt] = []
        self._exceptions: list[tuple[KindCount, Exception]] = []
        self.keeps_items = False
        self._kinds: dict[str, KindCount] = {}
        self._tell = Kinds()  # for attempts without a row in the ledger

    @property
    def dealt_with(self) -> int:
        """How many inputs have ended or were skipped."""
        return sum(self.counts.values()) + self.skipped

    @property
    def kinds(self) -> list[KindCount]:
        """The kinds of failure, the most frequent first; each keeps counting."""
        counted = list(self._kinds.values())  # copied in one step: the writer may be adding one
        return sorted(counted, key=lambda each: -each.count)

    @property
    def exceptions(self) -> list[Exception]:
        """The exceptions that tasks raised, at most 20: all of a rare kind, only the first of a frequent one.

        They have no frames. An exception that holds more than 1 MiB is replaced by one with its text.
        """
        kept, seen = [], set()
        for counted, exception in self._exceptions:
            if counted.count <= FEW or counted.kind.id not in seen:
                kept.append(exception)
            seen.add(counted.kind.id)
        return kept

    def news(self) -> list[Snapshot]:
        """Return the running attempts whose rows in the ledger are out of date; the writer's thread."""
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
        """Add the final attempts of tasks to the counts, and the failed ones to the report."""
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
                # SystemExit must not end the caller's program; an exception may hold on to large data.
                if not isinstance(exception, Exception) or weigh(exception) > _HEAVIEST:
                    exception = RuntimeError(f"{attempt.exception_type}: {attempt.message}")
                _add_note(exception, attempt, counted.kind)
                self._exceptions.append((counted, exception))
        if not self.keeps_items:
            attempt.item = None
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(attempt)

    def _has_room_for(self, counted: KindCount) -> bool:
        """Return whether to keep an exception: a few of each kind, and a new kind displaces a repeated one."""
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
        """Count a failure under its kind."""
        kind = attempt.kind or self._tell.of(attempt.status, attempt.message, attempt.error)
        known = self._kinds.get(kind.id)
        if known is None:
            known = self._kinds[kind.id] = KindCount(kind, 1, attempt, attempt)
        else:
            known.count += 1
            known.last = attempt
        return known


def _add_note(exception: Exception, attempt: Attempt, kind: Kind) -> None:
    """Note on the exception which task raised it and where, since its frames are dropped."""
    where = f", {kind.place}" if kind.place else ""
    try:
        BaseException.add_note(exception, clean(f"pipeloom: task {describe(attempt.known_as, 200)}{where}", 300))
    except Exception:  # noqa: BLE001 - a frozen dataclass accepts no note, and may raise anything
        pass
