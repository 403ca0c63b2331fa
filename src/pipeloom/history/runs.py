"""The runs of a ledger: those in progress, and those stored as ``running`` although their process is gone."""

from __future__ import annotations

from typing import Any, Final

from pipeloom.data.clock import seconds_since
from pipeloom.db import owner_of
from pipeloom.history import columns
from pipeloom.history.dead import DeadRuns, numbers
from pipeloom.history.reading import Reader
from pipeloom.history.rows import RunRow
from pipeloom.statuses import RUNNING

__all__ = ["Runs"]

_RECENT: Final = 100  # only recent runs can be open: each run that opens the file closes the earlier ones


class Runs:
    """Read runs; used in the thread of its reader.

    Args:
        reader: The file's reader.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def read(self, where: str, *params: Any, limit: int) -> list[RunRow]:
        """Return the latest runs in their present state, the latest first.

        Args:
            where: The condition on a run ``r`` in SQL, with WHERE.
            params: Its parameters.
            limit: At most this many, 0 or more.
        """
        dead = self.dead()
        has = self._reader.has_column
        later = ", ".join(f"r.{name}" if has("pipeloom_runs", name) else "NULL" for name in ("command", "shard"))
        found = self._reader.rows(
            "SELECT r.id, p.name, r.status, r.started_at, r.finished_at, r.elapsed_s, r.expected, r.done, "
            f"r.failed, r.cancelled, r.timed_out, r.skipped, r.workers, r.pid, r.executor, r.host, {later}, "
            "r.versions "
            f"FROM pipeloom_runs r LEFT JOIN pipeloom_pipelines p ON p.id = r.pipeline_id {where} "
            "ORDER BY r.id DESC LIMIT ?",
            (*params, limit),
        )
        return [self._as_of_now(columns.run_row(row), dead) for row in found]

    def _as_of_now(self, run: RunRow, dead: DeadRuns) -> RunRow:
        """Return a run with its elapsed time; if its process is gone, as interrupted and with new counts.

        A run stores its counts ten times a second, but its tasks with every commit.
        """
        if run.status != RUNNING:
            return run
        if run.run_id not in dead:
            return columns.lasting(run, seconds_since(run.started_at))
        counts = self._reader.rows(
            "SELECT status, COUNT(*) FROM task_runs WHERE run_id = ? GROUP BY status", (run.run_id,)
        )
        return columns.unclosed(run, dict(counts))

    def going_on(self, *only: int) -> list[tuple[Any, ...]]:
        """Return (number, process) of the runs that are stored as ``running``."""
        return self._reader.rows(
            "SELECT id, pid FROM (SELECT id, pid, status FROM pipeloom_runs "
            f"{f'WHERE id IN {numbers(only)} ' if only else ''}ORDER BY id DESC LIMIT ?) WHERE status = 'running'",
            (_RECENT,),
        )

    def dead(self) -> DeadRuns:
        """Return the runs that are stored as ``running`` although their process is gone.

        They are read twice: a run that ends stores its status before it releases the file. A dead run stays dead.
        """
        if not (said := self.going_on()):
            return DeadRuns()
        owner = owner_of(self._reader.path)
        gone = [number for number, pid in said if owner is None or (owner and pid is not None and pid != owner)]
        return DeadRuns(number for number, _ in self.going_on(*gone)) if gone else DeadRuns()
