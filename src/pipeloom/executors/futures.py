"""Runs chunks on an executor that the caller passed: any object with ``submit(fn, *args)`` that returns a future.

It belongs to the caller and is never shut down. Only its futures are used, so a task cannot reach its run before it
ends, and a running task cannot be ended.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pipeloom.data.text import clean
from pipeloom.executors.base import SupportsSubmit, workers_of
from pipeloom.executors.remote.engine import Answered, Ending, Loss, Note, missing_module
from pipeloom.executors.remote.program import Main
from pipeloom.executors.remote.run_chunk import run_chunk, this_process
from pipeloom.wire import Ability

__all__ = ["FuturesEngine"]

_CHUNK_S: Final = 0.05
_BREAKING: Final = (concurrent.futures.BrokenExecutor, concurrent.futures.CancelledError)
_AHEAD: Final = 2  # chunks for each worker, so that none waits for the next one


class FuturesEngine:
    """Runs chunks on any executor; see :class:`~pipeloom.executors.remote.engine.Engine`.

    Args:
        pool: The caller's executor.
        workers: How many of its workers to use.
    """

    can: Final[AbstractSet[Ability]] = frozenset()
    chunk_s: Final = _CHUNK_S

    def __init__(self, pool: SupportsSubmit, workers: int) -> None:
        self.name = clean(type(pool).__name__, 80)
        # Workers of the standard library's pools, and of pools derived from them, have loaded the program itself.
        self.main: Main = "shared" if isinstance(pool, concurrent.futures.Executor) else "missing"
        # If only some of the pool's workers may be used, no chunk may wait in it: it would run everything it has.
        self.window = workers if workers < (workers_of(pool) or 0) else workers * _AHEAD
        self.workers = workers
        self._pool = pool
        self._futures: dict[int, Any] = {}
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Submit a first call, so that pools that fork do so now, before the run has threads and open files."""
        self._future(this_process)

    def start(self, token: bytes, seen: Callable[[Note], None]) -> None:
        """Do nothing: running tasks cannot be observed."""

    def _future(self, function: Callable[..., object], *args: object) -> Any:
        future = self._pool.submit(function, *args)
        for method in ("result", "add_done_callback"):
            if not callable(getattr(future, method, None)):
                raise TypeError(
                    f"executor: submit() of a {self.name} must return a future, with result() and "
                    f"add_done_callback(), not a {clean(type(future).__name__, 80)}"
                )
        return future

    def submit(self, number: int, assignment: bytes, order: bytes, answered: Answered) -> None:
        """Submit a chunk."""
        future = self._future(run_chunk, assignment, order)
        with self._lock:
            self._futures[number] = future
        future.add_done_callback(lambda done: self._ended(number, done, answered))

    def _ended(self, number: int, future: Any, answered: Answered) -> None:
        """Pass on the result of a future; called in a thread of the executor's."""
        with self._lock:
            self._futures.pop(number, None)
        try:
            answer: object = future.result()
        except BaseException as error:  # noqa: BLE001 - any exception is the answer
            answer = error
        answered(answer)

    def withdraw(self, number: int) -> bool:
        """Cancel a chunk that has not started."""
        future = self._futures.get(number)
        cancel = getattr(future, "cancel", None)
        return callable(cancel) and bool(cancel())

    def judge(self, number: int, error: BaseException, *, is_alone: bool) -> Loss:  # noqa: ARG002 - no more is known
        """Return "broken" if the executor failed or was shut down, or if its workers lack a module."""
        return "broken" if isinstance(error, _BREAKING) or missing_module(error) else "unknown"

    def look(self) -> None:
        """Do nothing."""

    def tell(self, how: Ending) -> bool:  # noqa: ARG002 - as engines have it
        """Return false, since its workers cannot be told."""
        return False

    def close(self) -> None:
        """Do nothing: the executor belongs to the caller."""
