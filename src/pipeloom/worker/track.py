"""The iterator that ``ctx.track`` returns: it reports progress and checks for cancellation."""

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
    """An iterator over n elements, each of which counts as one step of progress.

    Args:
        check: Raises if the task should end.
        task: The task whose progress is reported.
        link: Its run, which may be being cancelled.
        iterable: The elements.
        total: n, if known.
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
        self._steps: Iterator[T] | None = None  # created when elements are taken one by one
        self._step = 0  # progress when they are taken in groups
        self._pace = 1  # elements that arrive in about a millisecond

    def __iter__(self) -> Iterator[T]:  # noqa: PYI034 - a generator, since those are faster than __next__
        if self._steps is None:
            self._steps = self._each()
        return self._steps

    def __next__(self) -> T:
        return next(iter(self))

    def take(self, count: int) -> list[T]:
        """Return the next ``count`` elements; fewer only at the end.

        Elements are taken in groups that arrive in about a millisecond, with one progress report per group, since
        there may be millions. Raises whatever a single step would raise.
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
                taken.extend(islice(self._source, asked))  # keeps the elements that came before an error
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
        """Report progress, and keep the message that was reported last."""
        if step is not None:
            self._task.progress = (step, self._total, self._task.progress[2])

    def _each(self) -> Iterator[T]:
        total, task, link = self._total, self._task, self._link
        said = vars(task)  # setting the attribute itself takes longer in a worker process
        self._show(0)
        for step, element in enumerate(self._source):
            said["progress"] = (step, total, said["progress"][2])
            if link.cancelling or task.deadline is not None:
                self._check()
            yield element
        self._show(total)
