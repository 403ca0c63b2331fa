"""What an executor is, and what it may rely on: the one seam between a run and where its workers live.

::

    run: Desk ── next() ──▶ executor ── perform(task, link) ──▶ the user's function
      ▲                        │
      └── end(task, outcome), hand_over(task) ◀──┘

An executor decides where and when tasks run. It decides nothing about them: whether a failed one is tried again,
what is stored, and when the run is over is the run's business. Adding one means implementing :class:`Executor` and
naming it in ``executors/__init__.py``.
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
"""The run's kind of task, which may know more than a worker needs: an executor gives back what it was given."""

ALL: Final = -1
"""Stands for all places, where one thread deals with them."""


@runtime_checkable
class SupportsSubmit(Protocol):
    """An executor, such as those of ``concurrent.futures``."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Have a function called somewhere; returns a future, with ``result`` and ``add_done_callback``."""


def is_dask(which: object) -> bool:
    """Say whether this means Dask: its name, the address of a scheduler, or a client."""
    if isinstance(which, str):
        return which == "dask" or "://" in which
    dask = sys.modules.get("distributed")  # who has a client has imported it
    return dask is not None and isinstance(which, dask.Client)


def workers_of(pool: SupportsSubmit) -> int | None:
    """Return how many workers an executor has, if it says so as those of ``concurrent.futures`` do."""
    count = getattr(pool, "_max_workers", None)
    return count if type(count) is int and count > 0 else None


def as_new(task: Task) -> None:
    """Have a task look as if it had never begun: its try was lost, through no fault of its own."""
    for name in ("status", "started_at", "t0", "deadline", "worker", "progress"):
        vars(task).pop(name, None)


@contextmanager
def telling(desk: Desk[T]) -> Iterator[None]:
    """Work in here until there is nothing more to do, or nobody to say it to; what goes wrong is told the run."""
    try:
        yield
    except (WriterBrokenError, ChannelClosedError):
        pass  # the run knows, and says why
    except BaseException as error:  # noqa: BLE001 - our own fault: the run must not go on as if all were well
        try:
            desk.fail(error)
        except MemoryError:
            pass  # it is noted; what remains is to leave


def joined(threads: Iterable[threading.Thread], timeout_s: float) -> int:
    """Wait for threads that are about to leave; returns how many have not, 0 to n."""
    deadline = monotonic() + timeout_s
    found = list(threads)
    for thread in found:
        thread.join(max(0.0, deadline - monotonic()))
    return sum(thread.is_alive() for thread in found)


class Desk(Protocol[T]):
    """The run's side: where an executor takes tasks from and gives outcomes back. Any thread."""

    @property
    def link(self) -> Link:
        """What workers hold."""

    @property
    def slots(self) -> list[T | None]:
        """One place per worker for the task it performs: the executor writes, and the run when it gives one up."""

    def next(self) -> T | None:
        """Return the next task, or ``None`` at the end; blocks while inputs are awaited.

        A task that is not ``queued`` was refused at the door: it is only to be handed over.

        Raises:
            WriterBrokenError: Nobody is there to store anything.
        """

    def more(self, most: int) -> list[T]:
        """Return further tasks that can be had at once, 0 to ``most``; does not wait.

        Raises:
            WriterBrokenError: As ``next``.
        """

    def give_back(self, tasks: list[T]) -> None:
        """Return tasks that have not begun, 0 or more: whoever asks next gets them."""

    @property
    def closed(self) -> bool:
        """Whether nothing more is to begin."""

    @property
    def is_limited(self) -> bool:
        """Whether a task counts from when it is taken: take one for a worker that begins it now, and no other."""

    def end(self, task: T, outcome: Outcome) -> None:
        """Note how a task's try went. Call it once a try, whoever ends it."""

    def hand_over(self, task: T) -> None:
        """Pass on a task that has ended, to be stored; blocks while there is no room.

        Raises:
            WriterBrokenError, ChannelClosedError: Nobody is there to store anything.
        """

    def offer(self, task: T) -> bool:
        """Pass on a task that has ended, unless there is no room: then return false, at once.

        Raises:
            WriterBrokenError, ChannelClosedError: As ``hand_over``.
        """

    def returned(self, task: T) -> None:
        """Say that a call that was given up on has returned after all."""

    def left(self, place: int) -> None:
        """Say that the worker in this place, or :data:`ALL`, does nothing more: there is nothing more to do."""

    def fail(self, error: BaseException) -> None:
        """Say that an executor went wrong: nothing more is admitted, and the run raises this."""


class Executor(Protocol[T]):
    """Performs tasks, several at once, until there are no more."""

    @property
    def name(self) -> str:
        """What ``pipeloom_runs`` calls it."""

    @property
    def can(self) -> AbstractSet[Ability]:
        """What it can do for a task."""

    @property
    def workers(self) -> int:
        """How many tasks it performs at once, at least 1; what a cluster has is known once it is prepared."""

    def prepare(self) -> None:
        """Get ready what takes time, while the run opens its file; the run's thread, before ``start``."""

    def start(self, desk: Desk[T]) -> set[int]:
        """Start the workers, in places 0 to n - 1.

        Returns:
            Of whom :meth:`Desk.left` will tell, at least one: the places of the workers that could be started,
            since the system may not grant them all; or ``{ALL}``, where one thread deals with all places.

        Raises:
            RuntimeError: Not even one could.
        """

    def look(self) -> None:
        """Bring up to date what is seen of running tasks; the run's thread, ten times a second."""

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:
        """End a task from outside; the run's thread.

        Its outcome is on the desk, and what the call says from now on is refused. An executor that cannot kill
        leaves the call to itself.

        Args:
            place: Where it runs.
            task: Which one.
            error: Why; by default, its time is over.

        Returns:
            False when the task has just ended by itself.
        """

    def replace(self, place: int) -> bool:
        """Put another worker in the place of one that was given up on; false when there can be none."""

    def join(self, timeout_s: float) -> int:
        """Wait for workers that are about to leave.

        Returns:
            How many have not, 0 to n; they are left to themselves.
        """

    def close(self) -> None:
        """Leave at once whatever still runs; the run's thread, at its very end. Calling twice is fine."""
