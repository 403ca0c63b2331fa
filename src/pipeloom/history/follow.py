"""A ledger that is watched: not there yet, there, changed, replaced, removed, there again.

Whoever shows a file for longer than a moment asks here what has happened to it. Used in one thread, like the
``History`` that it opens.
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
"""What has happened to a file: it can be read (again), another one has taken its place, or it has changed."""

_DEATH_S: Final = 1.0  # between two looks for the process of a run


class Follower:
    """Keeps open whatever ledger a path names now; a context manager.

    Args:
        path: The file; need not be there.
        deadline_s: How long one question to it may take, in seconds.
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
        """Let go of the file until the next look; closing twice is fine."""
        history, self._history = self._history, None
        if history is not None:
            history.close()

    def is_missing(self) -> bool:
        """Say whether there is nothing at the path now."""
        return identity(self._path) is None

    def look(self) -> tuple[History, News | None]:
        """Return the ledger as it is now, and what has happened since the last look; ``None`` when nothing has.

        While nothing happens this costs two system calls and one PRAGMA, and a few short questions a second while
        a run is going on. The ``History`` is of use until the next look.

        Raises:
            StorageError: It is missing, no database, or cannot be read. The next look tries again.
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
        self._identity = now  # from before it is opened: if another one takes its place meanwhile, that is noticed
        history = self._history = History(self._path, deadline_s=self._deadline_s)
        history.changed()  # only what happens from here on is news
        self._died(history)
        was_replaced, self._was_replaced = self._was_replaced, False
        return history, "replaced" if was_replaced else "opened"

    def _changed(self, history: History) -> bool:
        if history.changed():
            self._may_die = True  # a run may have begun
            return True
        return self._may_die and self._clock() >= self._look_for_death_at and self._died(history)

    def _died(self, history: History) -> bool:
        """Say whether the process of the latest run has died, which changes no byte of the file."""
        self._look_for_death_at = self._clock() + _DEATH_S
        run = history.latest_run()
        self._may_die = run is not None and run.status == RUNNING
        before, self._dead_run = self._dead_run, run.run_id if run is not None and run.is_unclosed else None
        return self._dead_run not in (None, before)
