"""Follows a file, reads what the user wants to see, and reports why it cannot be read.

Reads only when the file or the request has changed, and for at most a tenth of the time, however large the file.
Every query is short, so no read transaction stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self

from pipeloom.cli.watching.navigation import PAGES, Choice
from pipeloom.cli.watching.scene import LISTED, Opened, Scene
from pipeloom.data.rates import Forecast, Pace, Running
from pipeloom.data.text import clean
from pipeloom.errors import PipeloomError
from pipeloom.history import Follower, History, NoLedgerError, RunRow, TaskRow
from pipeloom.statuses import FAILED, RUNNING

__all__ = ["Want", "Watcher"]

_DEADLINE_S: Final = 5.0
_AGAIN_S: Final = 1.0  # delay before retrying an unreadable file
_SHARE: Final = 10  # reading takes at most one tenth of the time
_NOTE_S: Final = 60.0
_REPLACED: Final = "the file was replaced: now showing the new one"
_LOGS: Final = 50
_WITH_KINDS: Final = ("running", "kinds")


@dataclass(frozen=True, slots=True)
class Want:
    """What the user wants to see, besides the run's own row.

    Attributes:
        page: One of the pages.
        opened: A task or run to read in full.
        rows: Maximum number of running tasks to read.
    """

    page: str = PAGES[0]
    opened: Choice | None = None
    rows: int = 50


class Watcher:
    """Reads one file repeatedly; used in one thread; a context manager.

    Args:
        path: The file; need not exist yet.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._clock = clock
        self._follower = Follower(path, deadline_s=_DEADLINE_S, clock=clock)
        self._scene = Scene(str(path))
        self._pace: tuple[int, Pace, Forecast] | None = None
        self._failures_of: tuple[Any, ...] | None = None
        self._kinds_of: tuple[Any, ...] | None = None
        self._kinds_after = 0.0
        self._want: Want | None = None
        self._not_before = 0.0
        self._noted_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._follower.close()

    def look(self, want: Want) -> Scene:
        """Return the current scene; never raises for the file. Blocks on the disk, or for seconds on a lock."""
        now = self._clock()
        try:
            if now >= self._not_before or (self._want is not None and want != self._want):
                history, news = self._follower.look()
                if news == "replaced":
                    self._scene = replace(self._scene, note=_REPLACED)
                    self._noted_at = now
                if news in ("opened", "replaced"):
                    self._pace, self._failures_of, self._kinds_of = None, None, None
                if news is not None or want != self._want:
                    self._read(history, want, now)
                self._read_kinds(history, want)
                self._scene = replace(self._scene, trouble=None)
        except PipeloomError as error:
            self._trouble(error, now)
        self._refresh(now)
        return self._scene

    def _trouble(self, error: PipeloomError, now: float) -> None:
        """Record why the file cannot be read; keep what was read before."""
        self.close()
        self._want = None
        self._not_before = now + _AGAIN_S
        if self._follower.is_missing():
            self._not_before = now
            if self._scene.run is not None or self._scene.counts:
                said = "the file was removed: waiting for a new one…"
            else:
                path = self._path.absolute()
                what = f"the file {path}" if path.parent.is_dir() else f"the directory {path.parent}"
                said = f"{clean(what)} does not exist yet: check the path; waiting for it…"
        elif isinstance(error, NoLedgerError):
            said = "the file has no ledger yet: waiting for a run to create one…"
        else:
            said = f"cannot read the file: {error}"
        self._scene = replace(self._scene, trouble=said)

    def _read(self, history: History, want: Want, now: float) -> None:
        before = self._scene
        runs = history.runs(LISTED + 1 if want.page == "runs" else 1)
        run = runs[0] if runs else None
        scene = replace(
            before,
            at=now,
            run=run,
            counts=history.open_counts() if run is not None else history.counts(),
            running=tuple(history.running(want.rows)),
            runs=self._with_opened(history, runs, want),
            opened=self._opened(history, want.opened),
        )
        which = (run.run_id, run.failed, run.timed_out, run.cancelled, run.status) if run else ()
        run_id = run.run_id if run is not None else None
        if which != self._failures_of:
            scene = replace(scene, failures=self._failures(history, run_id))
        self._scene, self._failures_of, self._want = scene, which, want
        took = self._clock() - now
        self._not_before = now + took * _SHARE

    def _read_kinds(self, history: History, want: Want) -> None:
        """Group failures by kind if there are new ones and the page shows them; less often if it takes long."""
        began = self._clock()
        if want.page not in _WITH_KINDS or self._kinds_of == self._failures_of or began < self._kinds_after:
            return
        run = self._scene.run
        groups = history.error_groups(run.run_id if run is not None else None, LISTED + 1)
        self._scene = replace(self._scene, errors=tuple(groups))
        self._kinds_of = self._failures_of
        self._kinds_after = self._clock() + (self._clock() - began) * _SHARE

    @staticmethod
    def _failures(history: History, run_id: int | None) -> tuple[TaskRow, ...]:
        """Return the last failures, latest first: ids follow time closely, so sorting the highest ones is enough.

        Unlike ``History.failures``, this need not exclude tasks that a later run has done: the run is the latest.
        """
        found = history.tasks(limit=LISTED, status=FAILED, run_id=run_id)
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
        if choice is None or choice.kind != "task" or (task := history.task(choice.number, longest=0)) is None:
            return None
        return Opened(
            task,
            tuple(history.attempts(choice.number)),
            tuple(history.logs(choice.number, limit=_LOGS, newest=True)),
        )

    def _refresh(self, now: float) -> None:
        """Update the note, which expires, and the rate, which falls while nothing is committed."""
        if now - self._noted_at >= _NOTE_S:
            self._scene = replace(self._scene, note=None)
        run = self._scene.run
        if run is None or run.status != RUNNING:
            return
        if self._pace is None or self._pace[0] != run.run_id:
            began = now - (run.elapsed_s or 0.0)
            self._pace = (run.run_id, Pace(began), Forecast(began))
        _, pace, forecast = self._pace
        at_once = self._scene.counts.get(RUNNING, 0)
        left_s = None
        if run.expected is not None:
            since = self._scene.since(now)
            states = [Running((task.elapsed_s or 0.0) + since, task.progress) for task in self._scene.running]
            ended = run.ended - run.skipped
            left_s = forecast.left_s(now, ended, run.expected - run.ended, states, at_once)
        self._scene = replace(self._scene, rate=pace.rate(now, run.ended - run.skipped, at_once), left_s=left_s)
