"""How a run is stopped early: by signals, or by a request from another process.

The first Ctrl-C or SIGTERM drains, the second cancels, the third leaves at once. While a run is being opened, the
first one ends it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Final, Literal, Self

from pipeloom.data.text import clean, near
from pipeloom.db import cancel
from pipeloom.db.connection import MEMORY
from pipeloom.errors import RunInterruptedError
from pipeloom.report import RunReport

__all__ = ["CancelFile", "Signals", "Stage", "interrupted_at_the_end", "interrupted_early", "interrupted_midway"]

Stage = Literal[0, 1, 2]
"""How far a run is being stopped: not at all; nothing more is admitted; and what runs is cancelled."""

_LOOK_S: Final = 0.5

_CAUGHT: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Catches signals while it is entered, in the main thread; elsewhere it does nothing.

    A handler runs between two bytecodes of the main thread, which may hold any lock, such as the one inside an
    ``Event`` that it waits for. So it takes none and raises nothing: it counts, and calls ``notify``, which must be
    safe there (``queue.SimpleQueue.put`` is; an ``Event`` is not). Whoever waits in the main thread calls
    :meth:`look` meanwhile, which raises at the third signal.

    At the end a SIGTERM does what it would have done without us.

    Args:
        notify: Called with 1 for the first signal, 2 for the second, and so on.

    Source: https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    """

    def __init__(self, notify: Callable[[int], None]) -> None:
        self._notify = notify
        self._previous: dict[signal.Signals, Any] = {}
        self.count = 0
        self._terminated = False
        self._may_raise = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _CAUGHT:
                previous = signal.getsignal(number)
                # An ignored signal stays ignored (nohup, background jobs); None was set outside Python.
                if previous not in (signal.SIG_IGN, None):
                    self._previous[number] = previous
                    signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self._terminated = self._terminated or number == signal.SIGTERM
        self._notify(self.count)
        if self.count >= 3 and self._may_raise:
            self._may_raise = False  # once: the way out has much to put back
            raise KeyboardInterrupt

    def look(self) -> None:
        """Leave at once, if the third signal has come.

        Raises:
            KeyboardInterrupt: It has.
        """
        if self.count >= 3:
            raise KeyboardInterrupt

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """In here, where a system call may block for long, the third signal raises by itself; not to be nested."""
        self._may_raise = True
        try:
            yield
        finally:
            self._may_raise = False

    def __exit__(self, *_: object) -> None:
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, previous)
        if self._terminated:
            signal.raise_signal(signal.SIGTERM)


class CancelFile:
    """What ``pipeloom cancel`` leaves beside the database; in the run's thread.

    Args:
        db: The database.
        run_id: Which run is meant by a request; ``None`` means this one by none.
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


def interrupted_midway(report: RunReport) -> RunInterruptedError:
    """Return what to raise when inputs are left."""
    return RunInterruptedError(
        f"interrupted after {report.done:,} done: run it again to do the rest ({clean(near(report.db))})", report
    )


def interrupted_at_the_end(report: RunReport) -> RunInterruptedError:
    """Return what to raise when none are."""
    return RunInterruptedError(
        f"interrupted at its very end, with {report.done:,} done and stored ({clean(near(report.db))})", report
    )


def interrupted_early(db: Path | None) -> RunInterruptedError:
    """Return what to raise when the ledger knows nothing of the run; ``None``: not even which file it is about."""
    where = "" if db is None else f" ({clean(near(str(db)))})"
    return RunInterruptedError(f"interrupted before anything was begun{where}")
