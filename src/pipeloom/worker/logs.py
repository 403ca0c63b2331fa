"""Collects the log records of tasks, which are stored in ``pipeloom_logs``.

::

    logger.info(...) in a task ─▶ TaskLogHandler on the root logger ─▶ task.logs ─▶ the writer, at its next tick

Any thread: a context variable identifies the task, so a thread that was started with a copy of the context belongs
to the task. Keeping a record appends to a deque: it never blocks, never raises, and is bounded.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from pipeloom.data.clock import utc_now
from pipeloom.data.text import LONGEST_TEXT, describe, pass_on_interrupt, shorten, storable, tail
from pipeloom.data.tracebacks import traceback_of
from pipeloom.statuses import RUNNING
from pipeloom.wire import LogLine
from pipeloom.worker.current import running_task
from pipeloom.worker.task import Task

__all__ = ["is_heard_here", "keep_line", "keeping_logs", "note_gap"]

_LEVEL: Final = logging.INFO
_PENDING: Final = 1000  # records of one attempt between two ticks of the writer, which are 0.1 s apart
_MOST: Final = 10_000  # records of one attempt
_MESSAGE_LIMIT: Final = 4000


class TaskLogHandler(logging.Handler):
    """Keeps records of level INFO and above that are logged while a task runs; ignores the others."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Process a record without the handler's lock, which all workers would contend for."""
        if record.levelno >= self.level and self.filter(record):
            self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record with its task, if one is running here."""
        task = running_task()
        if task is not None and task.status == RUNNING:
            try:
                _keep(task, record)
            except BaseException as error:  # noqa: BLE001 - formatting a foreign argument may raise anything
                pass_on_interrupt(error)
                task.unkept += 1

        if task is None or not task.has_run_elsewhere:  # otherwise the run's process prints it
            self._stand_aside(record)

    def _stand_aside(self, record: logging.LogRecord) -> None:
        """Print a record on stderr as Python would have done if this handler were not installed."""
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not self.is_heard(record.name):
            last.handle(record)

    def is_heard(self, name: str) -> bool:
        """Return whether another handler receives the records of this logger."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


def _keep(task: Task, record: logging.LogRecord) -> None:
    lines = _lines_of(task)
    if len(lines) >= _PENDING or task.logged >= _MOST:
        task.unkept += 1
        return
    error = None
    if record.exc_info and record.exc_info[1] is not None:
        error = traceback_of(record.exc_info[1], record.exc_info[1].__traceback__)
        error = storable(tail(error, LONGEST_TEXT))
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    message = storable(shorten(record.getMessage(), _MESSAGE_LIMIT))
    line = LogLine(at, describe(record.levelname, 40), storable(describe(record.name, 200)), message, error)
    if task.unkept:
        note_gap(task)
    lines.append(line)
    task.logged += 1


def keep_line(task: Task, line: LogLine, *, was_heard: bool) -> None:
    """Keep a line that a task has logged in another process, and pass it to the handlers of this process.

    Args:
        task: The task.
        line: The line.
        was_heard: Whether a handler in the other process received it; then it is not passed to those here.
    """
    _lines_of(task).append(line)
    if was_heard:
        return
    record = logging.LogRecord(
        line.logger, logging.getLevelNamesMapping().get(line.level, _LEVEL), "", 0, line.message, (), None
    )
    record.exc_text = line.error
    logging.getLogger(line.logger).handle(record)


def _lines_of(task: Task) -> deque[LogLine]:
    lines = task.logs
    if lines is None:
        lines = task.__dict__.setdefault("logs", deque())  # two threads may log first at the same time
    return lines


def note_gap(task: Task) -> None:
    """Add a line in place of the records that were dropped."""
    count, task.unkept = task.unkept, 0
    why = (
        f"{count:,} log records were dropped here: at most {_MOST:,} per attempt and {_PENDING:,} in 0.1 s are kept"
    )
    _lines_of(task).append(LogLine(utc_now(), "WARNING", "pipeloom", why, None))


_guard = threading.Lock()
_handler = TaskLogHandler(_LEVEL)
_runs = 0


if hasattr(os, "register_at_fork"):  # prevents a fork while the lock is held, which would stay locked in the child
    os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_guard.release)


def is_heard_here(name: str) -> bool:
    """Return whether a handler of this process itself receives the records of a logger."""
    return _handler.is_heard(name)


@contextmanager
def keeping_logs() -> Iterator[None]:
    """Keep the log records of tasks inside this context; concurrent runs on several files share one handler."""
    global _runs  # noqa: PLW0603
    with _guard:
        _runs += 1
        if _runs == 1:
            logging.getLogger().addHandler(_handler)
    try:
        yield
    finally:
        with _guard:
            _runs -= 1
            if _runs == 0:
                logging.getLogger().removeHandler(_handler)
