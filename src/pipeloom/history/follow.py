"""Watches the ledger at a path, which may be missing, change, be replaced or removed, and reappear.

Anything that shows a file for longer than a moment uses this to learn what has happened to it. Used in one
thread, like the ``History`` that it opens.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, Literal, Self

from pipeloom.db.place import Identity, identity
from pipeloom.history.history import History
from pipeloom.statuses import RUNNING

__all__ = ["Follower", "News"]

News = Literal["opened", "replaced", "changed"]
"""What happened to a file: it can be read (again), another file has replaced it, or it has changed."""

_DEATH_S: Final = 1.0  # between two checks whether a run's process is alive


class Follower:
    """Keeps the ledger open that a path names now; a context manager.

    Args:
        path: The file; it need not exist.
        deadline_s: The time limit of one query, in seconds.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, path: Path, *, deadline_s: float = 5.0, clock: Callable[[], float] = monotonic) -> None:
        self._path = path
        self._deadline_s = deadline_s
        self._clock = clock
        self._history: History | None = None
        self._identity: Identity | None = None
        self._was_replaced = False
        self._may_die = False
        self._dead_run: int | None = None
        self._look_for_death_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file until the next look; closing twice is fine."""
        history, self._history = self._history, None
        if history is not None:
            history.close()

    def is_missing(self) -> bool:
        """Return whether nothing exists at the path now."""
        return identity(self._path) is None

    def look(self) -> tuple[History, News | None]:
        """Return the ledger as it is now, and what has happened since the last look, or ``None`` if nothing has.

        If nothing happens this costs two system calls and one PRAGMA, and a few short queries a second during a
        run. The ``History`` may be used until the next look.

        Raises:
            StorageError: The file is missing, is not a database, or cannot be read. The next look tries again.
            NoLedgerError: It is a database without a ledger.
            SchemaError: Its ledger is newer.
        """
        try:
            return self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> tuple[History, News | None]:
        now = identity(self._path)
        if self._history is not None and now != self._identity:
            self.close()
            self._was_replaced = now is not None
        if (history := self._history) is not None:
            return history, "changed" if self._changed(history) else None
        self._identity = now  # taken before opening, so that a replacement meanwhile is noticed
        history = self._history = History(self._path, deadline_s=self._deadline_s)
        history.changed()  # only later changes are news
        self._died(history)
        was_replaced, self._was_replaced = self._was_replaced, False
        return history, "replaced" if was_replaced else "opened"

    def _changed(self, history: History) -> bool:
        if history.changed():
            self._may_die = True  # a run may have started
            return True
        return self._may_die and self._clock() >= self._look_for_death_at and self._died(history)

    def _died(self, history: History) -> bool:
        """Return whether the process of the latest run has died, which changes no byte of the file."""
        self._look_for_death_at = self._clock() + _DEATH_S
        run = history.latest_run()
        self._may_die = run is not None and run.status == RUNNING
        before, self._dead_run = self._dead_run, run.run_id if run is not None and run.is_unclosed else None
        return self._dead_run not in (None, before)
