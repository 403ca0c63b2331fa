"""Everything that can go wrong, as one tree.

::

    PipeloomError
    ├── StorageError              the file cannot be opened, read or written (exit code 3)
    │   └── SchemaError           it is a database, but not one that this version can work with
    ├── DatabaseInUseError        another engine is running on this file (exit code 4)
    ├── ChannelClosedError        you ended the conversation, and went on talking
    ├── WriterBrokenError         the writer died; the reason is in ``__cause__``
    ├── LedgerError               the ledger refuses what was asked of it
    │   ├── DuplicateKeyError     one key came twice in one run
    │   ├── NameNeededError       whether work is done already depends on whose it was (also a ValueError)
    │   ├── RowRefusedError       a value, a column or a statement that cannot be stored
    │   └── TaskTooLargeError     a task staged more than ``max_task_mb``, or than the disk has room for
    ├── TaskCancelledError        raised inside a task by ``ctx.check()``
    ├── TaskTimeoutError          the same, past the task's deadline (also a TimeoutError)
    ├── AttemptOverError          a task spoke after its end
    ├── RetryLater                raised by a task that wants to be tried again later
    ├── WorkerDiedError           a worker process died of what its task did
    ├── ExecutorBrokenError       the executor that was passed can run nothing more
    ├── RemoteError               stands for what a task raised in another process, of a class unknown here
    ├── TasksFailedError          some tasks failed (also an ExceptionGroup)
    └── RunInterruptedError       a signal ended the run early (also a KeyboardInterrupt)

Wrong arguments are plain ``ValueError`` and ``TypeError``. *Closed* means you ended it; *broken* means the
other side died.
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
    """The root of the tree; survives a pickle round trip with its attributes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


class StorageError(PipeloomError):
    """The database file cannot be opened, read or written.

    Attributes:
        path: The file, as text.
    """

    def __init__(self, message: str, *, path: object = None) -> None:
        super().__init__(message)
        self.path = None if path is None else str(path)


class SchemaError(StorageError):
    """The file is a database whose tables do not fit: foreign, newer, or contradicting a declaration."""


class DatabaseInUseError(PipeloomError):
    """Another engine, in this or another process, is running on this file.

    Attributes:
        path: The file, as text.
        pid: The owner's process id, or ``None`` when it could not be read.
    """

    def __init__(self, message: str, *, path: object = None, pid: int | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else str(path)
        self.pid = pid


class ChannelClosedError(PipeloomError):
    """The channel was closed by its owner; nothing more can be put."""


class WriterBrokenError(PipeloomError):
    """The writer died, so nothing more can be stored; ``__cause__`` says why."""


class LedgerError(PipeloomError):
    """The ledger refuses what was asked of it; the rest of the run stands."""


class NameNeededError(LedgerError, ValueError):
    """Whether an input's work is done already depends on whose it was: pass ``name=``; nothing was done of it."""


class DuplicateKeyError(LedgerError):
    """One key came twice in one run.

    Attributes:
        key: The key as stored.
    """

    def __init__(self, message: str, *, key: str | int | None = None) -> None:
        super().__init__(message)
        self.key = key


class RowRefusedError(LedgerError):
    """A value, a column, a table or a statement that cannot be stored; the sentence names it."""


class TaskTooLargeError(LedgerError):
    """A task staged more than ``max_task_mb``, or than the disk has room for: see ``ctx.checkpoint``."""


class TaskCancelledError(PipeloomError):
    """Raised inside a task by ``ctx.check()`` once the run is being cancelled."""


class TaskTimeoutError(PipeloomError, TimeoutError):
    """Raised inside a task by ``ctx.check()`` once its ``timeout`` is over."""


class AttemptOverError(PipeloomError):
    """A task's context was used after the task had ended; what it said is refused."""


class RetryLater(PipeloomError):  # noqa: N818 - a request, which its task ends well with, not an error
    """Raise it in a task to have that tried again later.

    What the task wrote in this try is dropped, as in any that fails, and its checkpoint stays.
    ``raise RetryLater(30) from error`` keeps the reason for the task's message and traceback.

    Args:
        after_s: How long to wait, in seconds, 0 or more; ``Retry(max_delay_s=...)`` does not shorten it.
        count: This was one of the tries that ``retries=`` allows; when none is left, the task has failed. False: it
            was none of them, and that may happen any number of times, also without ``retries=``.

    Attributes:
        after_s: The seconds.
        count: Whether the try counts.

    Raises:
        ValueError, TypeError: One of them makes no sense.
    """

    def __init__(self, after_s: float, *, count: bool = True) -> None:
        if isinstance(after_s, bool) or not isinstance(after_s, int | float):
            raise TypeError(f"RetryLater: after_s must be a number of seconds, not {type(after_s).__name__}")
        if not 0 <= after_s < math.inf:
            raise ValueError(f"RetryLater: after_s must be seconds, 0 or more, not {after_s}")
        if not isinstance(count, bool):
            raise TypeError(f"RetryLater: count must be True or False, not {type(count).__name__}")
        super().__init__(float(after_s), count)  # they are its arguments, which cross to other processes

    @property
    def after_s(self) -> float:
        """The seconds to wait."""
        seconds: float = self.args[0]
        return seconds

    @property
    def count(self) -> bool:
        """Whether the try counts."""
        counts: bool = self.args[1]
        return counts

    def __str__(self) -> str:
        return f"asked to be tried again in {duration(self.after_s)}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.after_s:g}{'' if self.count else ', count=False'})"


class WorkerDiedError(PipeloomError):
    """A worker process died; the task that it was at is charged with it, and no other.

    Attributes:
        exit_code: What it exited with; ``None`` if it was a signal.
        signal: The number of the signal that ended it, or ``None``.
    """

    def __init__(self, message: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal


class ExecutorBrokenError(PipeloomError):
    """The executor that was passed can run nothing more; ``__cause__`` is what it raised.

    What came back before is stored. The tasks that were under way are charged with nothing: the next run does them.
    """


class RemoteError(PipeloomError):
    """Stands for what a task raised in another process: nothing that a worker sends is unpickled.

    An exception of a class that this process knows, and that is made of plain values alone, is made again.

    Attributes:
        kind: The name of its class.
    """

    def __init__(self, message: str, *, kind: str = "Exception") -> None:
        super().__init__(message)
        self.kind = kind


class TasksFailedError(PipeloomError, ExceptionGroup[Exception]):
    """Some tasks failed; holds their exceptions without frames, 20 at most: of more than five of a kind, the first.

    Attributes:
        report: The whole outcome; ``report.kinds`` says how many failed in which way, ``report.failures`` has keys,
            messages and tracebacks.
    """

    report: RunReport | None

    def __new__(cls, message: str, exceptions: Sequence[Exception], report: RunReport | None = None) -> Self:
        """Build the group; ``report`` may be missing in a derived part."""
        self = super().__new__(cls, message, exceptions)
        self.report = report
        return self

    def __init__(self, message: str, exceptions: Sequence[Exception], report: RunReport | None = None) -> None:
        super().__init__(message, exceptions)
        self.report = report

    def derive(self, exceptions: Sequence[Exception], /) -> TasksFailedError:  # type: ignore[override]
        """Return a part of this group that keeps the report (used by ``except*`` and ``split``)."""
        return TasksFailedError(self.message, exceptions, self.report)


class RunInterruptedError(PipeloomError, KeyboardInterrupt):
    """The run was ended before all inputs were done; call again to do the rest.

    A script that does not catch it writes one line to standard error, and ends with ``exit_code``.

    Attributes:
        report: What was done until then; ``None`` if nothing was begun, or if it was left at once.
        signal: The number of the first signal, such as ``signal.SIGTERM``; ``None`` if there was none: it was asked
            by ``pipeloom cancel``, or the program ended.
        left_at_once: It was the third signal: what ran was not waited for, and may be going on.
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
        """What a program exits with that it ends: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 130 if self.signal is None else 128 + self.signal
