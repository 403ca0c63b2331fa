"""Follows one file: not there yet, there, replaced, removed, locked, there again.

Reads only when something was committed, or once a second while a run goes on (its process may be gone); no more
than a tenth of the time, however big the file is. No read transaction stays open, since every question is short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from pipeloom.cli.watching.snapshot import Opened, Snapshot
from pipeloom.cli.watching.view import Choice
from pipeloom.data.rates import Pace
from pipeloom.errors import PipeloomError, SchemaError
from pipeloom.history import History, RunRow, TaskRow
from pipeloom.statuses import FAILED, RUNNING

__all__ = ["Source", "Want"]

_DEADLINE_S: Final = 2.0
_AGAIN_S: Final = 1.0  # for what no commit announces: a process that is gone
_SHARE: Final = 10  # at most one part in so many of the time is spent reading
_NOTE_S: Final = 60.0
_LISTED: Final = 200
_LOGS: Final = 50


@dataclass(frozen=True, slots=True)
class Want:
    """What the viewer wants to know beside the run's own row.

    Attributes:
        page: One of the view's pages.
        opened: A task or a run to be read in full.
        rows: How many running tasks could be shown.
    """

    page: str = "running"
    opened: Choice | None = None
    rows: int = 50


class Source:
    """Reads one file again and again; used in one thread; a context manager.

    Args:
        path: The file; need not be there.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._history: History | None = None
        self._snapshot = Snapshot(str(path))
        self._pace: tuple[int, Pace] | None = None
        self._failures_of: tuple[Any, ...] | None = None
        self._want: Want | None = None
        self._not_before = 0.0
        self._again_at = 0.0
        self._noted_at = 0.0

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; closing twice is fine."""
        history, self._history = self._history, None
        if history is not None:
            history.close()

    def look(self, want: Want) -> Snapshot:
        """Return what there is; never raises for the file's sake. Blocks on the disk, and on a lock for seconds."""
        now = self._clock()
        asked = self._history is not None and want != self._want
        try:
            if asked or now >= self._not_before:
                history = self._followed(now)
                if history.changed() or want != self._want or (self._snapshot.is_running and now >= self._again_at):
                    self._read(history, want, now)
                self._snapshot = replace(self._snapshot, trouble=None)
        except PipeloomError as error:
            self._trouble(error, now)
        self._refresh(now)
        return self._snapshot

    def _followed(self, now: float) -> History:
        """Have the file open that the path names now."""
        if self._history is not None and not self._history.is_same_file():
            self.close()
            if self._path.exists():
                self._note("the file was replaced by another one, which is shown now", now)
        if self._history is None:
            self._history = History(self._path, deadline_s=_DEADLINE_S)
            self._want, self._pace, self._failures_of = None, None, None
        return self._history

    def _trouble(self, error: PipeloomError, now: float) -> None:
        """Say what is in the way; what was known before stays."""
        self.close()
        self._not_before = now + _AGAIN_S
        if not self._path.exists():
            self._not_before = now
            if self._snapshot.run is not None or self._snapshot.counts:
                said = "the file was removed: waiting for a new one…"
            elif self._path.parent.is_dir():
                said = "the file is not there yet: waiting for it…"
            else:
                said = "neither the file nor its directory is there yet: waiting for them…"
        elif isinstance(error, SchemaError) and "no pipeloom ledger" in str(error):
            said = "there is no ledger in this file yet: waiting for a run to make one…"
        else:
            said = f"cannot read it: {error}"
        self._snapshot = replace(self._snapshot, trouble=said)

    def _note(self, text: str, now: float) -> None:
        self._snapshot = replace(self._snapshot, note=text)
        self._noted_at = now

    def _read(self, history: History, want: Want, now: float) -> None:
        before = self._snapshot
        runs = history.runs(_LISTED if want.page == "runs" else 1)
        run = runs[0] if runs else None
        note = before.note if now - self._noted_at < _NOTE_S else None
        snapshot = replace(
            before,
            at=now,
            note=note,
            run=run,
            counts=history.open_counts() if run is not None else history.counts(),
            running=tuple(history.running(want.rows)),
            runs=self._with_opened(history, runs, want),
            opened=self._opened(history, want.opened),
        )
        which = (run.run_id, run.failed, run.timed_out, run.cancelled, run.status) if run else ()
        run_id = run.run_id if run is not None else None
        if which != self._failures_of or want.page == "errors":
            snapshot = replace(snapshot, failures=self._failures(history, run_id))
        if want.page != "errors":
            snapshot = replace(snapshot, errors=())
        elif which != self._failures_of or not before.errors:
            snapshot = replace(snapshot, errors=tuple(history.error_groups(run_id, _LISTED)))
        self._snapshot, self._failures_of, self._want = snapshot, which, want
        took = self._clock() - now
        self._not_before = now + took * _SHARE
        self._again_at = now + _AGAIN_S

    @staticmethod
    def _failures(history: History, run_id: int | None) -> tuple[TaskRow, ...]:
        """Return the last failures: numbers follow time closely, so the highest are put in order of time.

        The latest run has none that a later one has done since; ``History.failures`` looks for those as well.
        """
        found = history.tasks(limit=_LISTED, status=FAILED, run_id=run_id)
        return tuple(sorted(found, key=lambda task: (task.finished_at or "", task.id), reverse=True))

    @staticmethod
    def _with_opened(history: History, runs: Sequence[RunRow], want: Want) -> tuple[RunRow, ...]:
        opened = want.opened
        if opened is None or opened.kind != "run" or any(run.run_id == opened.number for run in runs):
            return tuple(runs)
        found = history.run(opened.number)
        return (*runs, found) if found is not None else tuple(runs)

    @staticmethod
    def _opened(history: History, choice: Choice | None) -> Opened | None:
        if choice is None or choice.kind != "task" or (task := history.task(choice.number)) is None:
            return None
        return Opened(
            task,
            tuple(history.attempts(choice.number)),
            tuple(history.logs(choice.number, limit=_LOGS, newest=True)),
        )

    def _refresh(self, now: float) -> None:
        """Have the rate of this moment: it sinks while nothing is committed."""
        run = self._snapshot.run
        if run is None or run.status != RUNNING:
            return
        if self._pace is None or self._pace[0] != run.run_id:
            self._pace = (run.run_id, Pace(now - (run.elapsed_s or 0.0)))
        self._snapshot = replace(self._snapshot, rate=self._pace[1].rate(now, run.ended - run.skipped))
