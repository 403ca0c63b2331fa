"""Every exception that pipeloom raises, as one tree.

::

    PipeloomError
    ├── StorageError              the file cannot be opened, read or written (exit code 3)
    │   └── SchemaError           the file is a database, but its tables do not fit this version or the run
    ├── DatabaseInUseError        another engine is running on this file (exit code 4)
    ├── ChannelClosedError        put() was called after close()
    ├── WriterBrokenError         the writer died; the reason is in ``__cause__``
    ├── LedgerError               the ledger refused an operation
    │   ├── DuplicateKeyError     a key occurred twice in one run
    │   ├── NameNeededError       pass ``name=``: finished work cannot be attributed without it (also a ValueError)
    │   ├── RowRefusedError       a value, column or statement cannot be stored
    │   └── TaskTooLargeError     a task staged more than ``max_task_mb``, or more than the disk can hold
    ├── TaskCancelledError        raised inside a task by ``ctx.check()`` when the run is being cancelled
    ├── TaskTimeoutError          raised inside a task by ``ctx.check()`` after its deadline (also a TimeoutError)
    ├── AttemptOverError          a task's context was used after the task had ended
    ├── RetryLater                raised by a task to be retried later
    ├── WorkerDiedError           a worker process died while running a task
    ├── ExecutorBrokenError       the executor that you passed can run nothing more
    ├── RemoteError               replaces an exception from another process that cannot be rebuilt here
    ├── TasksFailedError          some tasks failed (also an ExceptionGroup)
    └── RunInterruptedError       the run was stopped early, usually by a signal (also a KeyboardInterrupt)

Invalid arguments raise plain ``ValueError`` and ``TypeError``. *Closed* means that you ended it; *broken* means
that the other side died.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from pipeloom.data.rates import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeloom.report import RunReport

__all__ = [
    "AttemptOverError",
    "ChannelClosedError",
    "DatabaseInUseError",
    "DuplicateKeyError",
    "ExecutorBrokenError",
    "LedgerError",
    "NameNeededError",
    "PipeloomError",
    "RemoteError",
    "RetryLater",
    "RowRefusedError",
    "RunInterruptedError",
    "SchemaError",
    "StorageError",
    "TaskCancelledError",
    "TaskTimeoutError",
    "TaskTooLargeError",
    "TasksFailedError",
    "WorkerDiedError",
    "WriterBrokenError",
]


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class PipeloomError(Exception):
    """Base class of pipeloom's exceptions; each survives pickling with its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class StorageError(PipeloomError):
    """The database file cannot be opened, read or written.

    Attributes:
        path: The path of the file, as text; ``None`` if unknown.
    """

    def __init__(self, message: str, *, path: object = None) -> None:
        super().__init__(message)
        self.path = None if path is None else str(path)


class SchemaError(StorageError):
    """The file is a database, but its tables are foreign, from a newer version, or contradict ``tables=``."""


class DatabaseInUseError(PipeloomError):
    """Another engine, in this or another process, is running on this file.

    Attributes:
        path: The path of the file, as text; ``None`` if unknown.
        pid: The process id of the engine that owns the file; ``None`` if it could not be read.
    """

    def __init__(self, message: str, *, path: object = None, pid: int | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else str(path)
        self.pid = pid


class ChannelClosedError(PipeloomError):
    """``put()`` was called on a channel that its owner had closed."""


class WriterBrokenError(PipeloomError):
    """The writer died, so nothing more can be stored; ``__cause__`` holds the reason."""


class LedgerError(PipeloomError):
    """The ledger refused an operation; the rest of the run is unaffected."""


class NameNeededError(LedgerError, ValueError):
    """Pass ``name=``: without it, finished work cannot be attributed to this function; no input was run."""


class DuplicateKeyError(LedgerError):
    """A key occurred twice in one run.

    Attributes:
        key: The key as stored in the ledger.
    """

    def __init__(self, message: str, *, key: str | int | None = None) -> None:
        super().__init__(message)
        self.key = key


class RowRefusedError(LedgerError):
    """A value, column, table or statement cannot be stored; the message names it."""


class TaskTooLargeError(LedgerError):
    """A task staged more than ``max_task_mb``, or more than the disk can hold; see ``ctx.checkpoint``."""


class TaskCancelledError(PipeloomError):
    """Raised inside a task by ``ctx.check()`` when the run is being cancelled."""


class TaskTimeoutError(PipeloomError, TimeoutError):
    """Raised inside a task by ``ctx.check()`` after the task's ``timeout`` has expired."""


class AttemptOverError(PipeloomError):
    """A task's context was used after the task had ended; nothing was stored."""


class RetryLater(PipeloomError):  # noqa: N818 - a request from a task that works as intended, not an error
    """Raise this in a task to have the task retried later.

    The rows that the task staged in this attempt are dropped, as after any failure; its checkpoint is kept.
    ``raise RetryLater(30) from error`` records the reason in the task's message and traceback.

    Args:
        after_s: The wait, in seconds, 0 or more. ``Retry(max_delay_s=...)`` does not shorten it.
        count: Whether this attempt counts towards ``retries=``. If it does and no attempts are left, the task
            fails. If not, the task may ask again without limit, even when the run has no ``retries=``.

    Attributes:
        after_s: The wait, in seconds.
        count: Whether this attempt counts towards ``retries=``.

    Raises:
        ValueError, TypeError: An argument is invalid.
    """

    def __init__(self, after_s: float, *, count: bool = True) -> None:
        if isinstance(after_s, bool) or not isinstance(after_s, int | float):
            raise TypeError(f"RetryLater: after_s must be a number of seconds, not {type(after_s).__name__}")
        if not 0 <= after_s < math.inf:
            raise ValueError(f"RetryLater: after_s must be seconds, 0 or more, not {after_s}")
        if not isinstance(count, bool):
            raise TypeError(f"RetryLater: count must be True or False, not {type(count).__name__}")
        super().__init__(float(after_s), count)  # kept in `args`, which are sent to other processes

    @property
    def after_s(self) -> float:
        """The wait, in seconds."""
        seconds: float = self.args[0]
        return seconds

    @property
    def count(self) -> bool:
        """Whether this attempt counts towards ``retries=``."""
        counts: bool = self.args[1]
        return counts

    def __str__(self) -> str:
        return f"asked to be retried in {duration(self.after_s)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.after_s:g}{'' if self.count else ', count=False'})"


class WorkerDiedError(PipeloomError):
    """A worker process died; only the task that it was running fails.

    Attributes:
        exit_code: The exit code of the process; ``None`` if a signal ended it.
        signal: The number of the signal that ended the process, or ``None``.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class ExecutorBrokenError(PipeloomError):
    """The executor that you passed can run nothing more; ``__cause__`` is the exception that it raised.

    Results that had already come back are stored. Tasks in flight are not marked as failed: the next run does them.
    """


class RemoteError(PipeloomError):
    """Replaces an exception that a task raised in another process and that cannot be rebuilt in this one.

    Nothing that a worker sends is unpickled. An exception is rebuilt only if this process knows its class and it
    holds nothing but plain values.

    Attributes:
        kind: The name of the original class.
    """

    def __init__(self, message: str, *, kind: str = "Exception") -> None:
        super().__init__(message)
        self.kind = kind


class TasksFailedError(PipeloomError, ExceptionGroup[Exception]):
    """Some tasks failed; holds up to 20 of their exceptions, without frames.

    Of a kind that occurs more than five times, only the first exception is included.

    Attributes:
        report: The report of the whole run. ``report.kinds`` counts the failures by kind; ``report.failures`` has
            keys, messages and tracebacks.
    """

    report: RunReport | None

    def __new__(cls, message: str, exceptions: Sequence[Exception], report: RunReport | None = None) -> Self:
        """Build the group; ``report`` may be missing in a derived subgroup."""
        self = super().__new__(cls, message, exceptions)
        self.report = report
        return self

    def __init__(self, message: str, exceptions: Sequence[Exception], report: RunReport | None = None) -> None:
        super().__init__(message, exceptions)
        self.report = report

    def derive(self, exceptions: Sequence[Exception], /) -> TasksFailedError:  # type: ignore[override]
        """Return a subgroup that keeps the report (called by ``except*`` and ``split``)."""
        return TasksFailedError(self.message, exceptions, self.report)


class RunInterruptedError(PipeloomError, KeyboardInterrupt):
    """The run was stopped before all inputs were done; the next call runs the rest.

    If a script does not catch it, the script prints one line to standard error and exits with ``exit_code``.

    Attributes:
        report: What was done before the run stopped; ``None`` if nothing had started, or if the run was abandoned.
        signal: The number of the first signal, such as ``signal.SIGTERM``; ``None`` if the run was stopped by
            ``pipeloom cancel`` or because the program ended.
        left_at_once: Whether a third signal abandoned the run: running tasks were not waited for, and may still be
            running.
    """

    def __init__(
        self,
        message: str,
        report: RunReport | None = None,
        *,
        signal: int | None = None,
        left_at_once: bool = False,
    ) -> None:
        super().__init__(message)
        self.report = report
        self.signal = signal
        self.left_at_once = left_at_once

    @property
    def exit_code(self) -> int:
        """The exit code that a program should use: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 130 if self.signal is None else 128 + self.signal
