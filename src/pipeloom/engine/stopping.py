"""How far a run is being stopped, what another process asks of it, and what its caller is told.

The first signal, or ``cancel --drain``, drains the run. The second, or ``cancel``, cancels it. The third signal
leaves at once. While a run is being opened, the first signal ends it.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Final, Literal

from pipeloom.data.text import clean, near
from pipeloom.db import cancel
from pipeloom.db.connection import MEMORY
from pipeloom.errors import RunInterruptedError
from pipeloom.report import RunReport

__all__ = [
    "CancelFile",
    "Stage",
    "interrupted_at_the_end",
    "interrupted_early",
    "interrupted_midway",
    "left_at_once",
]

Stage = Literal[0, 1, 2]
"""How far a run is being stopped: not at all; admit nothing more; also cancel running tasks."""

_LOOK_S: Final = 0.5


class CancelFile:
    """The request that ``pipeloom cancel`` leaves beside the database; read in the run's thread.

    Args:
        db: The database.
        run_id: The run; a request for another run is ignored. ``None`` ignores every request.
    """

    def __init__(self, db: Path, run_id: int | None) -> None:
        self._db = db
        self._run_id = run_id
        self._looked_at = monotonic()

    def look(self) -> Stage:
        """Return how far another process asked this run to stop; looks twice a second."""
        now = monotonic()
        if now - self._looked_at < _LOOK_S or str(self._db) == MEMORY:
            return 0
        self._looked_at = now
        request = cancel.requested(self._db)
        if request is None:
            return 0
        cancel.clear(self._db)
        run_id, how = request
        if run_id != self._run_id:
            return 0
        return 1 if how == "drain" else 2


def interrupted_midway(report: RunReport, signal: int | None) -> RunInterruptedError:
    """Return what to raise when inputs are left."""
    said = f"interrupted after {report.done:,} done: run it again to do the rest ({clean(near(report.db))})"
    return RunInterruptedError(said, report, signal=signal)


def interrupted_at_the_end(report: RunReport, signal: int | None) -> RunInterruptedError:
    """Return what to raise when no inputs are left."""
    said = f"interrupted at the very end, with {report.done:,} done and stored ({clean(near(report.db))})"
    return RunInterruptedError(said, report, signal=signal)


def interrupted_early(db: Path | None, signal: int | None) -> RunInterruptedError:
    """Return what to raise when the run is not in the ledger yet; ``None``: even its file is unknown."""
    where = "" if db is None else f" ({clean(near(str(db)))})"
    return RunInterruptedError(f"interrupted before anything started{where}", signal=signal)


def left_at_once(db: Path, signal: int | None) -> RunInterruptedError:
    """Return what to raise when running tasks were not waited for."""
    said = f"left at once, without waiting for running tasks: run it again to do the rest ({clean(near(str(db)))})"
    return RunInterruptedError(said, signal=signal, left_at_once=True)
