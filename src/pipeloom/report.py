"""The result of a run, as data.

This module depends neither on the database nor on the error classes, since the errors hold reports. Whatever a
report needs from either, it gets from its origin: the run that created it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeloom.data.differing import shortened
from pipeloom.data.kinds import Kind, Kinds, short
from pipeloom.data.rates import duration
from pipeloom.data.text import clean, near
from pipeloom.data.totals import SKIPPED, how_many, spelled, totals
from pipeloom.statuses import DONE, ERROR, FAILED, INTERRUPTED, RUNNING, RunEnd, TaskStatus

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Failure", "FailureKind", "RunCounts", "RunReport", "TaskOutcome"]

_SHOWN: Final = 8  # kinds of failure
_NAME: Final = 500
_CELLS: Final = 32  # of a name, when it is shown among others


@dataclass(frozen=True, slots=True)
class Failure:
    """One task that failed, was cancelled or timed out.

    Attributes:
        key: The input, or what ``key=`` returned for it, as in ``RunReport.results``; the task's id in a run
            without keys; the input's name if it has no key.
        attempt: The number of the attempt in this run, counted from 1.
        exception: The type of the exception, such as ``"ValueError"``; ``None`` if the worker reported the failure
            in a message.
        message: The message, for display.
        traceback: The traceback as Python prints it, or ``None``.
        status: ``error``, ``cancelled`` or ``timed_out``.
    """

    key: Any
    attempt: int
    exception: str | None
    message: str
    traceback: str | None
    status: TaskStatus = ERROR


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Failures of a run with the same exception, at the same place, with messages that differ only in details.

    Attributes:
        id: Eight characters, the same in every run: ``pipeloom errors --kind ID`` lists all tasks of this kind.
        status: ``error``, ``cancelled`` or ``timed_out``.
        exception: The type of the exception, as in a traceback; ``None`` if the worker reported the failure in a
            message.
        place: The last line of your own code in the traceback, as ``file:line in function``, or ``None``.
        message: The common part of the messages: numbers, quoted text and paths are replaced by ``…``.
        count: The number of tasks.
        first: The first of these failures that was stored.
        last: The key of the last one, as in :attr:`Failure.key`.
    """

    id: str
    status: TaskStatus
    exception: str | None
    place: str | None
    message: str
    count: int
    first: Failure
    last: Any

    def __str__(self) -> str:
        """Return one line with the count, the message, the place, and the first and last key."""
        what = self.first.message if self.count == 1 else self.message
        said = clean(": ".join(filter(None, (self.exception or spelled(self.status), what))), 200)
        where = f"{clean(short(self.place), 80)}; " if self.place else ""
        keys = [self.first.key] if self.count == 1 else [self.first.key, self.last]
        names = shortened([clean(key, _NAME) for key in keys], _CELLS)
        which = names[0] if self.count == 1 else f"first {names[0]}, last {names[1]}"
        return f"{self.count:,} \N{MULTIPLICATION SIGN} {said} ({where}{which})"


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The outcome of one task of a run, as stored.

    Attributes:
        key: The input, or what ``key=`` returned for it; its name if it has no key.
        item: The input. ``None`` with ``key=`` if this was read long after the task ended, since the file stores
            only the key.
        status: ``done``, ``error``, ``cancelled`` or ``timed_out``.
        result: What the function returned, decoded from JSON.
        attempt: The number of the attempt in this run, counted from 1.
        task_id: The ``id`` of the task's row.
        error: The failure; ``None`` if the task is done.
    """

    key: Any
    item: Any
    status: TaskStatus
    result: Any
    attempt: int
    task_id: int
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class RunCounts:
    """The progress of a run at one moment.

    Attributes:
        done: Tasks that are done in this run, and stored.
        failed: Tasks that failed.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that timed out.
        skipped: Inputs that were already done before this run.
        running: Tasks that are running.
        waiting: Tasks that are waiting for a retry or for a limit.
        expected: The number of inputs; ``None`` if it is not known in advance.
    """

    done: int
    failed: int
    cancelled: int
    timed_out: int
    skipped: int
    running: int
    waiting: int
    expected: int | None

    @property
    def total(self) -> int:
        """Inputs dealt with so far: done, failed, cancelled, timed out and skipped."""
        return how_many(self)

    def __str__(self) -> str:
        told = [f"{total.number:,} {total.word}" for total in totals(self)]
        told += [
            f"{count:,} {word}"
            for count, word in ((self.running, spelled(RUNNING)), (self.waiting, "waiting"))
            if count
        ]
        return ", ".join(told) + (f" of {self.expected:,}" if self.expected is not None else "")


def kind_told(kind: Kind, count: int, first: Failure, last: Any) -> FailureKind:
    """Return a kind in the form that reports use.

    Args:
        kind: The kind.
        count: The number of tasks, 1 or more.
        first: The first failure of this kind.
        last: The key of the last one.
    """
    return FailureKind(
        id=kind.id,
        status=first.status,
        exception=kind.exception,
        place=kind.place,
        message=kind.message,
        count=count,
        first=first,
        last=last,
    )


def in_lines(kinds: Sequence[FailureKind], mark: str = "") -> list[str]:
    """Return the most frequent kinds as lines, each after a mark, and a line that counts the failures left out."""
    lines = [f"  {mark}{kind}" for kind in kinds[:_SHOWN]]
    if left := kinds[_SHOWN:]:
        others = "1 other kind" if len(left) == 1 else f"{len(left):,} other kinds"
        lines.append(f"  … and {sum(kind.count for kind in left):,} more, of {others}")
    return lines


def _kinds_of(failures: Iterable[Failure]) -> tuple[FailureKind, ...]:
    tell = Kinds()
    found: dict[Kind, list[Failure]] = {}
    for failure in failures:
        error = failure.traceback or (f"{failure.exception}: {failure.message}" if failure.exception else None)
        found.setdefault(tell.of(failure.status, failure.message, error), []).append(failure)
    kinds = (kind_told(kind, len(alike), alike[0], alike[-1].key) for kind, alike in found.items())
    return tuple(sorted(kinds, key=lambda kind: -kind.count))


class Origin(Protocol):
    """The run that created a report; picklable, like the report."""

    @property
    def exceptions(self) -> tuple[Exception, ...]:
        """The first exceptions that the tasks raised."""

    def results(self, *, everything: bool) -> Iterator[tuple[Any, Any]]:
        """Iterate over (input or key, result), read from the ledger."""

    @property
    def is_shown(self) -> bool:
        """Whether the display in the current notebook cell already shows the report."""

    def html_of(self, report: RunReport) -> str:
        """Return the report as HTML."""

    def error_for(self, report: RunReport, count: int) -> Exception:
        """Return the exception to raise for ``count`` failures in a report."""


@dataclass(frozen=True)
class RunReport:
    """The outcome of one run, as committed.

    Attributes:
        run_id: The run's ``id`` in ``pipeloom_runs``; ``None`` without ledger tables.
        status: ``done`` (every input is done), ``error`` (some failed), ``cancelled`` or ``interrupted``.
        done: Tasks that are done in this run.
        failed: Tasks that failed.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that timed out.
        skipped: Inputs that were already done before this run.
        total: Inputs dealt with: the sum of these five.
        elapsed_s: The duration of the run, in seconds.
        failures: The first 100 failures; the ledger has all of them.
        kinds: All failures of the run, counted by kind, the most frequent kind first.
        pipeline: The name under which later runs resume; ``None`` for a run without keys.
        db: The path of the database file, as text.
    """

    run_id: int | None
    status: RunEnd
    done: int
    failed: int
    cancelled: int
    timed_out: int
    skipped: int
    total: int
    elapsed_s: float
    failures: tuple[Failure, ...]
    pipeline: str | None
    db: str
    kinds: tuple[FailureKind, ...] = ()
    _origin: Origin | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the kinds from the failures if the report was built without them."""
        if self.failures and not self.kinds:
            object.__setattr__(self, "kinds", _kinds_of(self.failures))

    def results(self, *, everything: bool = False) -> Iterator[tuple[Any, Any]]:
        """Iterate over (input, result) for the inputs of this call that are done, in their order.

        Inputs that were skipped because they were already done are included, so calling again with the same inputs
        yields the same results. With ``key=``, the pairs are (key, result), with the key as ``key=`` returned it.
        In a run without keys they are (task id, result text), ordered by id.

        Results are read from the ledger in the calling thread, one page at a time; no cursor stays open in between.
        Inputs are returned with their original types: str, int, Path, UUID, date, datetime, and tuples, lists and
        dicts of these. A dataclass is rebuilt if its class is loaded and not local to a function; otherwise it is
        returned as a dict of its fields. An input whose key is a digest, and that takes more than 65,536 characters
        as JSON, is returned as its stored key.

        Args:
            everything: Return all done tasks of this pipeline, ordered by task id, rather than those of this call.

        Returns:
            An iterator over n pairs, 0 or more.

        Raises:
            StorageError: The file does not exist or cannot be read.
            ValueError: The report was not created by a run.
        """
        return self._run.results(everything=everything)

    def raise_for_failures(self) -> None:
        """Raise an exception if any task failed, was cancelled or timed out.

        Raises:
            TasksFailedError: Holds this report and up to 20 exceptions; of a kind that occurs more than five times,
                only the first.
        """
        if count := self._not_done:
            raise self._run.error_for(self, count)

    @property
    def has_exceptions(self) -> bool:
        """Whether an exception is at hand: a task raised it, or the ledger refused the task's output."""
        return self._origin is not None and bool(self._origin.exceptions)

    @property
    def _not_done(self) -> int:
        return how_many(self, FAILED)

    @property
    def _run(self) -> Origin:
        if self._origin is None:
            raise ValueError(
                "this report was not created by a run, so its results and exceptions are not available"
            )
        return self._origin

    def __str__(self) -> str:
        what = clean(self.pipeline, 80) if self.pipeline else "run"
        counts = ", ".join(
            f"{total.number:,} {total.word}{' (done before)' if total.kind == SKIPPED else ''}"
            for total in totals(self, always=(DONE,) if self.total else ())
        )
        number = f", run {self.run_id}" if self.run_id is not None else ""
        took, db = duration(self.elapsed_s), clean(near(self.db))
        lines = [f"{what}: {counts or 'no inputs'} in {took} ({db}{number})"]
        return "\n".join([*lines, *in_lines(self.kinds, "✗ ")])

    def _repr_html_(self) -> str | None:
        """Return the report as HTML, for notebooks."""
        return None if self._origin is None else self._origin.html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's signature
        """Print the report at IPython's prompt."""
        printer.text(str(self))

    def _ipython_display_(self) -> None:
        """Show nothing if the run has already shown the report in this notebook cell; called by IPython."""
        if self._origin is None or not self._origin.is_shown:
            raise NotImplementedError  # then IPython uses another representation

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        colour = {DONE: "green", INTERRUPTED: "yellow"}.get(self.status, "red")
        head, *rest = str(self).split("\n")
        text = Text(head, style=f"bold {colour}")
        for line in rest:
            text.append("\n" + line, style="red")
        return text
