"""How a run is stopped early: by signals, or by a request from another process.

The first Ctrl-C or SIGTERM drains, the second cancels, the third leaves at once.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any, Final, Literal, Self

from pipeloom.db import cancel
from pipeloom.db.connection import MEMORY

__all__ = ["CancelFile", "Signals", "Stage"]

Stage = Literal[0, 1, 2]
"""How far a run is being stopped: not at all; nothing more is admitted; and what runs is cancelled."""

_LOOK_S: Final = 0.5

_CAUGHT: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Catches signals while it is entered, in the main thread; elsewhere it does nothing.

    A handler runs between two bytecodes of the main thread, which may hold any lock. So it takes none: it counts,
    and calls ``notify``, which must be safe there (``queue.SimpleQueue.put`` is; an ``Event`` is not).

    Args:
        notify: Called with 1 for the first signal and 2 for the second. The third raises ``KeyboardInterrupt``.

    Source: https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    """

    def __init__(self, notify: Callable[[int], None]) -> None:
        self._notify = notify
        self._previous: dict[signal.Signals, Any] = {}
        self.count = 0
        self.terminated = False
        self._leaving = False

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
        self.terminated = self.terminated or number == signal.SIGTERM
        if self.count >= 3 and not self._leaving:
            raise KeyboardInterrupt
        self._notify(self.count)

    def __exit__(self, *_: object) -> None:
        self._leaving = True  # a third signal here must not leave handlers of ours behind
        while self._previous:
            number, previous = self._previous.popitem()
            signal.signal(number, previous)

    def pass_on(self) -> None:
        """After the end: let a SIGTERM do what it would have done without us."""
        if self.terminated:
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
