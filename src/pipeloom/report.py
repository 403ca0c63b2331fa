"""What comes back from a run, as data.

A report knows no file and no error class: the errors hold reports, and the file lies in a room above. What it needs
of both, the run that makes it brings along as its origin.
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
    """One task that did not end well.

    Attributes:
        key: The input, or what ``key=`` returned for it, as ``RunReport.results`` gives it; the task's number in
            a run without keys; the input's name if it has no key.
        attempt: Which try of this run it was.
        exception: The exception's type, such as ``"ValueError"``; ``None`` when the worker itself said so.
        message: What people should read.
        traceback: As Python prints it, or ``None``.
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
    """Failures of a run that are the same one: in the exception, its place, and the message but for particulars.

    Attributes:
        id: Eight characters, the same in each run: ``pipeloom errors --kind ID`` has all tasks of this kind.
        status: ``error``, ``cancelled`` or ``timed_out``.
        exception: The exception's type as a traceback names it; ``None`` when the worker itself said so.
        place: The last line of your own code in the traceback, as ``file:line in function``, or ``None``.
        message: What the messages have in common: numbers, quoted parts and paths are ``…``.
        count: How many tasks.
        first: The first of them that was stored.
        last: The last one's key, as :attr:`Failure.key`.
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
        """Return it in a line: how many, of what, where, and which ones."""
        what = self.first.message if self.count == 1 else self.message
        said = clean(": ".join(filter(None, (self.exception or spelled(self.status), what))), 200)
        where = f"{clean(short(self.place), 80)}; " if self.place else ""
        keys = [self.first.key] if self.count == 1 else [self.first.key, self.last]
        names = shortened([clean(key, _NAME) for key in keys], _CELLS)
        which = names[0] if self.count == 1 else f"first {names[0]}, last {names[1]}"
        return f"{self.count:,} \N{MULTIPLICATION SIGN} {said} ({where}{which})"


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How one task of a run ended, as it is stored.

    Attributes:
        key: The input, or what ``key=`` returned for it; its name if it has no key.
        item: The input. ``None`` with ``key=`` if this was read long after it ended: the file has the key only.
        status: ``done``, ``error``, ``cancelled`` or ``timed_out``.
        result: What the function returned, as it comes back from JSON.
        attempt: Which try of this run it was, from 1.
        task_id: The ``id`` of its row.
        error: What went wrong; ``None`` if it is done.
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
    """How far a run is, at one moment.

    Attributes:
        done: Tasks done in this run, and stored.
        failed: Tasks that ended in error.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that ran out of time.
        skipped: Inputs that were done before.
        running: Tasks that run now.
        waiting: Tries that wait for their turn, after one that failed or for a limit.
        expected: The number of inputs; ``None`` when it is not known beforehand.
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
        """Inputs dealt with: done, failed, cancelled, timed out and skipped."""
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
    """Return a kind as a report has it.

    Args:
        kind: Which one.
        count: How many tasks, 1 or more.
        first: The first of them.
        last: The last one's key.
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
    """Return the most frequent kinds as lines, each behind a mark, and how many failures they leave out."""
    lines = [f"  {mark}{kind}" for kind in kinds[:_SHOWN]]
    if left := kinds[_SHOWN:]:
        lines.append(f"  … and {sum(kind.count for kind in left):,} more, in {len(left):,} other ways")
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
    """The run behind a report; picklable, as the report is."""

    @property
    def exceptions(self) -> tuple[Exception, ...]:
        """The first exceptions that tasks raised."""

    def results(self, *, everything: bool) -> Iterator[tuple[Any, Any]]:
        """Iterate (input or key, result) from the ledger."""

    @property
    def is_shown(self) -> bool:
        """Whether a display in the present cell of a notebook shows its report."""

    def html_of(self, report: RunReport) -> str:
        """Return its report as HTML."""

    def error_for(self, report: RunReport, count: int) -> Exception:
        """Return what is raised for the failures of a report, which are so many."""


@dataclass(frozen=True)
class RunReport:
    """The outcome of one run, as committed.

    Attributes:
        run_id: Its number in ``pipeloom_runs``; ``None`` without ledger tables.
        status: ``done`` (every input is done), ``error`` (some failed), ``cancelled`` or ``interrupted``.
        done: Tasks done in this run.
        failed: Tasks that ended in error.
        cancelled: Tasks that were cancelled.
        timed_out: Tasks that ran out of time.
        skipped: Inputs that were done before.
        total: Inputs dealt with, the sum of these five.
        elapsed_s: How long it took.
        failures: The first 100; all of them are in the ledger.
        kinds: All of them by kind, the most frequent first.
        pipeline: The name under which it resumes; ``None`` for a run without keys.
        db: The file.
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
        """Find the kinds in the failures, if a program has made the report without them."""
        if self.failures and not self.kinds:
            object.__setattr__(self, "kinds", _kinds_of(self.failures))

    def results(self, *, everything: bool = False) -> Iterator[tuple[Any, Any]]:
        """Iterate (input, result) of this call's inputs that are done, in their order, from the ledger.

        Inputs that were skipped, since they were done before, have their results too: after another call with the
        same inputs this yields the same. With ``key=`` it is (key, result), and the key is what ``key=`` returned.
        In a run without keys: (number, result text) of this run, by number.

        Reads the file page by page, in the calling thread, with no cursor left open in between. Inputs come back as
        they were given: str, int, Path, UUID, date, datetime; tuple, list and dict of them. A dataclass comes back
        as one if its class is loaded and not local to a function, else as a dict of its fields. An input whose key
        is a digest, and that takes more than 65,536 characters as JSON, comes back as its stored key.

        Args:
            everything: All done tasks of this pipeline, by number, instead of this call's.

        Raises:
            StorageError: There is no file to read from, or it cannot be read.
        """
        return self._run.results(everything=everything)

    def raise_for_failures(self) -> None:
        """Raise what went wrong, if anything did.

        Raises:
            TasksFailedError: Holds 20 exceptions at most, of more than five of one kind only the first, and this
                report.
        """
        if count := self._not_done:
            raise self._run.error_for(self, count)

    @property
    def has_exceptions(self) -> bool:
        """Whether a task raised, or was refused by the ledger, rather than report its own error."""
        return self._origin is not None and bool(self._origin.exceptions)

    @property
    def _not_done(self) -> int:
        return how_many(self, FAILED)

    @property
    def _run(self) -> Origin:
        if self._origin is None:
            raise ValueError("this report was not made by a run: there is nothing behind it to ask")
        return self._origin

    def __str__(self) -> str:
        what = clean(self.pipeline, 80) if self.pipeline else "run"
        counts = ", ".join(
            f"{total.number:,} {total.word}{' (done before)' if total.kind == SKIPPED else ''}"
            for total in totals(self, always=(DONE,) if self.total else ())
        )
        number = f", run {self.run_id}" if self.run_id is not None else ""
        took, db = duration(self.elapsed_s), clean(near(self.db))
        lines = [f"{what}: {counts or 'there were no inputs'} in {took} ({db}{number})"]
        return "\n".join([*lines, *in_lines(self.kinds, "✗ ")])

    def _repr_html_(self) -> str | None:
        """Return it for a notebook."""
        return None if self._origin is None else self._origin.html_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: ARG002 - IPython's signature
        """Print it at IPython's prompt."""
        printer.text(str(self))

    def _ipython_display_(self) -> None:
        """Show nothing where the run has shown this already: in the same cell of a notebook; IPython calls this."""
        if self._origin is None or not self._origin.is_shown:
            raise NotImplementedError  # IPython shows it in another way

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        colour = {DONE: "green", INTERRUPTED: "yellow"}.get(self.status, "red")
        head, *rest = str(self).split("\n")
        text = Text(head, style=f"bold {colour}")
        for line in rest:
            text.append("\n" + line, style="red")
        return text
