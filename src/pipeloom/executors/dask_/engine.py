"""Runs chunks on a Dask cluster.

::

    feeder ─▶ client.submit ─▶ scheduler ─▶ worker.run
    collector ◀── a coroutine of the client that waits for each result, and fetches it at once
    collector ◀── events: running tasks, progress, log lines

A result that stays on its worker would be computed again if the worker died, so it is fetched as soon as it is
ready. If Dask runs a chunk again by itself, it is stored only once: see ``remote/sent``.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from time import monotonic
from typing import Any, Final

from distributed import KilledWorker

from pipeloom.errors import ExecutorBrokenError, WorkerDiedError
from pipeloom.executors.dask_.cluster import connected, local_cluster
from pipeloom.executors.dask_.events import subscribe, unsubscribe
from pipeloom.executors.dask_.worker import run
from pipeloom.executors.remote.engine import Answered, Ending, Loss, Note, missing_module
from pipeloom.executors.remote.program import Main
from pipeloom.executors.remote.run_chunk import hear_of_end, leave
from pipeloom.wire import Ability

__all__ = ["DaskEngine"]

logger = logging.getLogger("pipeloom")

_CHUNK_S: Final = 0.3  # seconds of work: a submit takes 2 to 7 ms
_AHEAD: Final = 2  # chunks for each worker, so that none waits for the next one
_CLOSED: Final = ("closing", "closed")
_COUNT_S: Final = 2.0  # between two checks of the number of workers


class DaskEngine:
    """Runs chunks on Dask; see :class:`~pipeloom.executors.remote.engine.Engine`.

    Args:
        where: A ``distributed.Client``, which the caller keeps and closes; the address of a scheduler; or ``None``
            to start a cluster on this machine.
        workers: How many tasks to run at once; ``None`` for as many as possible.
        has_local: Whether workers enter a context manager, which they must exit at the end.
    """

    name: Final = "dask"
    can: Final[AbstractSet[Ability]] = frozenset({"live", "logs"})
    main: Final[Main] = "missing"
    chunk_s: Final = _CHUNK_S

    def __init__(self, where: Any, workers: int | None, *, has_local: bool) -> None:
        self._where = where
        self._wanted = workers
        self._stack = ExitStack()
        self._threads = 1  # of all workers
        self._counted_at = monotonic()
        self._begun: set[int] = set()  # chunks of a single task, which has started
        self._token = b""
        self._has_local = has_local

    # --- the run's thread ---

    def prepare(self) -> None:
        """Start or find the cluster; blocks until it is ready.

        Raises:
            ExecutorBrokenError: The cluster cannot be reached.
        """
        if self._where is None:
            self._client = self._stack.enter_context(local_cluster(self._wanted or 1))
        elif isinstance(self._where, str):
            self._client = self._stack.enter_context(connected(self._where))
        else:
            self._client = self._where
            if self._client.status in _CLOSED:
                raise ExecutorBrokenError("executor is a closed Dask client, so nothing ran")
        self._threads = max(1, sum(self._client.nthreads().values()))

    @property
    def workers(self) -> int:
        """How many tasks run at once; only known after ``prepare``."""
        return self._wanted or self._threads

    @property
    def window(self) -> int:
        """How many chunks Dask may have at once; those without a free worker wait at the scheduler."""
        wanted = self._wanted
        return wanted if wanted is not None and wanted < self._threads else self._threads * _AHEAD

    def start(self, token: bytes, seen: Callable[[Note], None]) -> None:
        """Subscribe to what the workers report."""
        self._token = token

        def heard(note: Note) -> None:
            self._begun.add(note.number)
            seen(note)

        if self._has_local:
            self._stack.callback(self._leave_local)
        subscribe(self._client, token, heard)
        self._stack.callback(unsubscribe, self._client, token)

    def look(self) -> None:
        """Update the number of workers, since clusters grow and shrink."""
        if monotonic() - self._counted_at > _COUNT_S:
            self._counted_at = monotonic()
            self._soon(self._count())

    async def _count(self) -> None:
        self._threads = max(1, sum((await self._client.scheduler.ncores()).values()))

    def tell(self, how: Ending) -> bool:
        """Tell all workers, at once, that the run is ending."""
        # In a separate thread, since the scheduler may not answer.
        threading.Thread(target=self._tell, args=(how,), name="pipeloom-dask", daemon=True).start()
        return True

    def _tell(self, how: Ending) -> None:
        try:
            self._client.run(hear_of_end, self._token, how, on_error="ignore")
        except Exception:  # noqa: BLE001 - the scheduler is gone or shutting down, so nothing runs for long
            pass

    def withdraw(self, number: int) -> bool:  # noqa: ARG002 - Dask does not report what has started
        """Return false, and leave the chunk: a worker that was told of the end returns it without starting it."""
        return False

    def _leave_local(self) -> None:
        """Exit ``local=`` in each worker, in a task thread like the one in which it was entered."""
        submit, workers = self._client.submit, self._client.nthreads()
        leaving = [submit(leave, self._token, workers=[worker], pure=False) for worker in workers]
        try:
            for said in self._client.gather(leaving, errors="skip"):
                if said is not None:
                    logger.warning("local= raised when its worker ended: %s", said)
        except (concurrent.futures.CancelledError, OSError, TimeoutError):
            pass  # the cluster is gone, and the workers with it

    def close(self) -> None:
        """Close what was opened; calling twice is fine."""
        self._stack.close()

    # --- the feeder ---

    def submit(self, number: int, assignment: bytes, order: bytes, answered: Answered) -> None:
        """Submit a chunk."""
        if self._client.status in _CLOSED:
            raise ConnectionError("its client is closed")
        key = f"pipeloom-{self._token.hex()}-{number}"
        future = self._client.submit(run, assignment, order, key=key, pure=False, retries=0)
        self._soon(self._await(future, answered))

    async def _await(self, future: Any, answered: Answered) -> None:
        """Wait for a result in the client's thread, and fetch it from the worker at once."""
        try:
            answer: object = await self._client.gather(future, asynchronous=True)
        except KilledWorker as error:
            answer = WorkerDiedError(f"its worker at {error.last_worker.address} died")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any exception is the answer
            answer = error
        del future  # Dask drops the result once no future refers to it
        answered(answer)

    def _soon(self, coroutine: Any) -> None:
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)
        except RuntimeError:
            coroutine.close()
            raise ConnectionError("its client is closed") from None

    # --- the collector ---

    def judge(self, number: int, error: BaseException, *, is_alone: bool) -> Loss:
        """Return why a chunk was lost."""
        if isinstance(error, WorkerDiedError):
            if is_alone:
                return "begun" if number in self._begun else "innocent"
            return "unknown"
        if isinstance(error, concurrent.futures.CancelledError | asyncio.CancelledError):
            # Cancelled by other code; or the scheduler is gone, and the client waits for a new one at its address.
            return "broken" if self._client.status in _CLOSED else "innocent"
        return "broken" if isinstance(error, ConnectionError) or missing_module(error) else "unknown"
