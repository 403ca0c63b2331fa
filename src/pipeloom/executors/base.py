"""The interface between a run and its executor.

::

    run: Desk ── next() ──▶ executor ── perform(task, link) ──▶ the user's function
      ▲                        │
      └── end(task, outcome), hand_over(task) ◀──┘

An executor decides only where and when tasks run. The run decides whether a failed task is retried, what is stored,
and when the run is over. To add an executor, implement :class:`Executor` and name it in ``executors/__init__.py``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

from pipeloom.errors import ChannelClosedError, WriterBrokenError
from pipeloom.wire import Ability, Outcome
from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

__all__ = ["ALL", "Desk", "Executor", "SupportsSubmit", "as_new", "is_dask", "joined", "telling", "workers_of"]

T = TypeVar("T", bound=Task)
"""The run's task class, which may have more attributes than a worker needs."""

ALL: Final = -1
"""Stands for all places, if a single thread serves them."""


@runtime_checkable
class SupportsSubmit(Protocol):
    """An executor, such as those of ``concurrent.futures``."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Schedule a call of a function; return a future with ``result`` and ``add_done_callback``."""


def is_dask(which: object) -> bool:
    """Return whether this means Dask: its name, the address of a scheduler, or a client."""
    if isinstance(which, str):
        return which == "dask" or "://" in which
    dask = sys.modules.get("distributed")  # if there is a client, this has been imported
    return dask is not None and isinstance(which, dask.Client)


def workers_of(pool: SupportsSubmit) -> int | None:
    """Return how many workers an executor has, if it has the attribute of those of ``concurrent.futures``."""
    count = getattr(pool, "_max_workers", None)
    return count if type(count) is int and count > 0 else None


def as_new(task: Task) -> None:
    """Reset a task to look as if it had never started, because its attempt was lost through no fault of its own."""
    for name in ("status", "started_at", "t0", "deadline", "worker", "progress"):
        vars(task).pop(name, None)


@contextmanager
def telling(desk: Desk[T]) -> Iterator[None]:
    """Report exceptions in this block to the run; end the block silently if the writer is gone."""
    try:
        yield
    except (WriterBrokenError, ChannelClosedError):
        pass  # the run knows, and reports why
    except BaseException as error:  # noqa: BLE001 - a fault of our own: the run must not continue as if nothing happened
        try:
            desk.fail(error)
        except MemoryError:
            pass  # it is recorded; all that is left is to end


def joined(threads: Iterable[threading.Thread], timeout_s: float) -> int:
    """Wait for threads that are about to end; return how many are still running, 0 to n."""
    deadline = monotonic() + timeout_s
    found = list(threads)
    for thread in found:
        thread.join(max(0.0, deadline - monotonic()))
    return sum(thread.is_alive() for thread in found)


class Desk(Protocol[T]):
    """The run's side: an executor takes tasks from it and returns outcomes to it. Any thread."""

    @property
    def link(self) -> Link:
        """The link that workers use."""

    @property
    def slots(self) -> list[T | None]:
        """Each worker's running task, or ``None``; set by the executor, or by the run when it gives one up."""

    def next(self) -> T | None:
        """Return the next task, or ``None`` at the end; blocks while waiting for inputs.

        A task whose status is not ``queued`` was refused before it started: only hand it over.

        Raises:
            WriterBrokenError: The writer died.
        """

    def more(self, most: int) -> list[T]:
        """Return further tasks that are available at once, 0 to ``most``; does not wait.

        Raises:
            WriterBrokenError: As for ``next``.
        """

    def give_back(self, tasks: list[T]) -> None:
        """Return tasks that have not started, 0 or more; ``next`` hands them out again."""

    @property
    def closed(self) -> bool:
        """Whether no further task may start."""

    @property
    def is_limited(self) -> bool:
        """Whether a task counts against a limit once it is taken; then only take one that starts immediately."""

    def end(self, task: T, outcome: Outcome) -> None:
        """Record the outcome of a task's attempt. Call this once per attempt, whichever side ends it."""

    def hand_over(self, task: T) -> None:
        """Pass on a task that has ended, to be stored; blocks while the channel is full.

        Raises:
            WriterBrokenError, ChannelClosedError: The writer has ended.
        """

    def offer(self, task: T) -> bool:
        """Pass on a task that has ended; return false at once if the channel is full.

        Raises:
            WriterBrokenError, ChannelClosedError: As for ``hand_over``.
        """

    def returned(self, task: T) -> None:
        """Report that a call that was given up has returned after all."""

    def left(self, place: int) -> None:
        """Report that the worker in this place, or :data:`ALL`, has ended because there is nothing more to do."""

    def fail(self, error: BaseException) -> None:
        """Report that the executor failed: no further task starts, and the run raises this error."""


class Executor(Protocol[T]):
    """Performs tasks, several at once, until there are no more."""

    @property
    def name(self) -> str:
        """Its name in ``pipeloom_runs``."""

    @property
    def can(self) -> AbstractSet[Ability]:
        """What it can do for a running task."""

    @property
    def workers(self) -> int:
        """How many tasks it performs at once, at least 1; for a cluster, only known after ``prepare``."""

    def prepare(self) -> None:
        """Start what takes time, while the run opens its file; the run's thread, before ``start``."""

    def start(self, desk: Desk[T]) -> set[int]:
        """Start the workers, in places 0 to n - 1.

        Returns:
            The places for which :meth:`Desk.left` will be called, at least one: those of the workers that could be
            started, since the system may refuse some; or ``{ALL}`` if a single thread serves all places.

        Raises:
            RuntimeError: Not even one worker could be started.
        """

    def look(self) -> None:
        """Update what is known of the running tasks; the run's thread, ten times a second."""

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:
        """End a task from outside; the run's thread.

        Its outcome is passed to the desk, and anything that the call sends afterwards is refused. An executor that
        cannot kill the call leaves it running.

        Args:
            place: The worker's place.
            task: The task.
            error: Why; by default, its time limit has expired.

        Returns:
            False if the task has just ended by itself.
        """

    def replace(self, place: int) -> bool:
        """Start another worker in the place of one that was given up; return false if that is not possible."""

    def join(self, timeout_s: float) -> int:
        """Wait for workers that are about to end.

        Returns:
            How many are still running, 0 to n; they are left running.
        """

    def close(self) -> None:
        """Release everything without waiting for running tasks; the run's thread. May be called twice."""
