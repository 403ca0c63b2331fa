"""Keeps one place of the pool busy: a thread of the run that uses one worker process after another.

::

    desk ── next, more ─▶ gather ─▶ Shift ─▶ worker process
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Generic

from pipeloom.data.text import clean
from pipeloom.errors import WorkerDiedError
from pipeloom.executors.base import Desk, T, telling
from pipeloom.executors.gathering import gather
from pipeloom.executors.processes.crash import how_it_ended
from pipeloom.executors.processes.launch import WorkerProcess
from pipeloom.executors.processes.orders import Orders
from pipeloom.executors.processes.shift import BootError, Shift
from pipeloom.executors.remote.raised import reason_of

__all__ = ["Attendant"]

logger = logging.getLogger("pipeloom")

_LISTEN_S: Final = 0.05
_STILLBORN: Final = 3  # workers in a row that end before they are ready


class Attendant(Generic[T]):
    """One place of a pool.

    Args:
        orders: The orders of the pool.
        next_task: Returns the next task, or ``None`` at the end; blocks.
        replacement: Returns another process, which is starting or ready.
        place: The place, from 0.
        worker: A process that is starting; ``None`` to start one when there is a task for it.
    """

    def __init__(
        self,
        orders: Orders,
        next_task: Callable[[], T | None],
        replacement: Callable[[], WorkerProcess],
        place: int,
        worker: WorkerProcess | None,
    ) -> None:
        self._orders = orders
        self._next_task = next_task
        self._replacement = replacement
        self._place = place
        self._fresh = worker
        self.shift: Shift[T] | None = None
        self._stillborn = 0
        self.thread = threading.Thread(target=self._live, name=f"pipeloom-attendant-{place + 1}", daemon=True)

    def start(self, desk: Desk[T]) -> None:
        """Start working; the run's thread."""
        self._desk = desk
        self.thread.start()

    @property
    def has_more(self) -> bool:
        """Whether its worker has tasks that have not started; any thread."""
        shift = self.shift
        return shift is not None and shift.has_more

    def discard(self) -> None:
        """Kill its process, whether or not it was ever used; any thread."""
        if (fresh := self._fresh) is not None:
            self._fresh = None
            fresh.kill()
            fresh.close(0.0)
        if (shift := self.shift) is not None:
            shift.kill()

    # --- its own thread ---

    def _live(self) -> None:
        desk = self._desk
        with telling(desk):
            self._work()
        if (shift := self.shift) is not None:
            shift.kill()
            shift.close(0.0)
        desk.slots[self._place] = None
        desk.left(self._place)

    def _work(self) -> None:
        """Keep workers busy until there is nothing more to do."""
        orders = self._orders
        while True:
            shift = self.shift
            if shift is not None and shift.is_free and orders.is_worn(shift.performed):
                shift.leave()
                shift = self.shift = None
            if self._desk.is_limited:
                self._await_worker()
            self._send_more()
            shift = self.shift
            if shift is None or shift.is_free:
                break
            self._listen(shift)
        if shift is not None:
            shift.leave()
            self.shift = None

    def _await_worker(self) -> None:
        """Wait until the worker is ready, since limits count a task from the moment it is taken."""
        while ((shift := self.shift) is None or not shift.is_up) and not self._desk.closed:
            if shift is None:
                shift = self.shift = self._new_shift()
            self._listen(shift)

    def _send_more(self) -> None:
        orders = self._orders
        while (shift := self.shift) is None or (not orders.is_worn(shift.performed) and shift.may_take):
            most = orders.chunk_size(0 if shift is None else shift.performed)
            may_wait = shift is None or shift.is_free
            tasks = gather(self._desk, most, self._next_task if may_wait else None)
            if not tasks:
                return
            if shift is None:
                shift = self.shift = self._new_shift()
            shift.send(tasks)

    def _new_shift(self) -> Shift[T]:
        worker, self._fresh = self._fresh or self._replacement(), None
        return Shift(worker, self._orders, self._desk, self._place)

    def _listen(self, shift: Shift[T]) -> None:
        try:
            shift.listen(_LISTEN_S)
            if shift.is_up:
                self._stillborn = 0
            if shift.took is not None:
                self._orders.note(*shift.took)
                shift.took = None
            shift.recall()
            return
        except BootError as error:
            self._bury(shift)
            raise reason_of(error.failure, "a worker process") from None
        except EOFError:
            reason = None
        except ValueError as error:
            reason = WorkerDiedError(f"its worker process sent data that cannot be read: {clean(error, 100)}")
        was_up = shift.is_up
        code = self._bury(shift, reason)
        if not was_up and isinstance(shift.reason, MemoryError):
            raise WorkerDiedError(f"before it was ready for a task, {shift.reason}: pass a larger one")
        self._stillborn = 0 if was_up else self._stillborn + 1
        if self._stillborn >= _STILLBORN:
            raise WorkerDiedError(
                f"{_STILLBORN} worker processes in a row died before they were ready: the last one "
                f"{how_it_ended(code)}"
            )

    def _bury(self, shift: Shift[T], reason: Exception | None = None) -> int:
        self.shift = None
        return shift.bury(reason)
