"""What ``ctx.track`` gives: elements, with progress and cancellation on the way."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from pipeloom.worker.link import Link
    from pipeloom.worker.task import Task

__all__ = ["Track"]

T = TypeVar("T")

_BRIEFLY_S: Final = 0.001
_LONG_S: Final = 0.01


class Track(Iterator[T]):
    """An iterator over n elements, each of which counts as a step.

    Args:
        check: Raises when the task should end.
        task: Whose progress it is.
        link: Says whether the run is being cancelled.
        iterable: The elements.
        total: n, if it is known.
    """

    __slots__ = ("_check", "_link", "_pace", "_source", "_step", "_steps", "_task", "_total")

    def __init__(
        self, check: Callable[[], None], task: Task, link: Link, iterable: Iterable[T], total: float | None
    ) -> None:
        if total is None:
            total = operator.length_hint(iterable) or None
        self._check = check
        self._task = task
        self._link = link
        self._source = iter(iterable)
        self._total = None if total is None else float(total)
        self._steps: Iterator[T] | None = None  # made by whoever goes step by step
        self._step = 0  # of whoever does not
        self._pace = 1  # elements that come in about a millisecond

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - a generator, since those are faster than __next__
        if self._steps is None:
            self._steps = self._each()
        return self._steps

    def __next__(self) -> T:
        return next(iter(self))

    def take(self, count: int) -> list[T]:
        """Return the next elements, fewer than ``count`` at the end only.

        They are asked for by the handful, as many as come in about a millisecond, and each handful counts as that
        many steps: rows come by the million. Raises as a step does.
        """
        if self._steps is not None:
            return list(islice(self._steps, count))
        if not self._step:
            self._show(0)
        taken: list[T] = []
        while (missing := count - len(taken)) > 0:
            self._check()
            asked, before, began = min(self._pace, missing), len(taken), monotonic()
            try:
                taken.extend(islice(self._source, asked))  # keeps what came before an error
            finally:
                self._step += len(taken) - before
                self._show(self._step)
            took_s = monotonic() - began
            if took_s > _LONG_S:
                self._pace = 1
            elif took_s < _BRIEFLY_S and asked == self._pace:
                self._pace *= 2
            if len(taken) - before < asked:
                self._show(self._total)
                break
        return taken

    def _show(self, step: float | None) -> None:
        """Say how far the task is, and keep the message that was said last."""
        if step is not None:
            self._task.progress = (step, self._total, self._task.progress[2])

    def _each(self) -> Iterator[T]:
        total, task, link = self._total, self._task, self._link
        said = vars(task)  # in a worker process setting the attribute takes longer
        self._show(0)
        for step, element in enumerate(self._source):
            said["progress"] = (step, total, said["progress"][2])
            if link.cancelling or task.deadline is not None:
                self._check()
            yield element
        self._show(total)
