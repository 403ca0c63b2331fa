"""The context of a plain function; also the queue that workers of ``run_pipeline`` receive."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from pipeloom.worker.base_context import BaseContext
from pipeloom.worker.current import present_link, task_here
from pipeloom.worker.track import Track

__all__ = ["TaskContext", "current_task"]

T = TypeVar("T")


class TaskContext(BaseContext):
    """What one attempt of a task can do: report progress, write rows, add inputs, and read what is committed.

    ``write``, ``execute`` and ``add`` are staged: they are committed together with the task's status ``done`` or
    with its next checkpoint, or not at all. What ``put`` sends is stored at once, even if the task fails later.
    Any thread may use the context until the task ends.

    A context belongs to its process and cannot be pickled. In a child process that the task forks, methods that
    store something raise ``WriterBrokenError``, and ``progress`` has no effect.
    """

    __slots__ = ()

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Yield the elements of ``iterable``; report progress and call ``check`` for each. Keeps the last message.

        If the iterator is passed to ``write``, it does so for each group of elements that arrive in about a
        millisecond.

        Args:
            iterable: n elements.
            total: n, if ``iterable`` has no length.

        Returns:
            An iterator over the n elements.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` has expired.
        """
        return Track(self.check, self._task, self._link, iterable, total)

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Query the committed data; blocks until the writer answers, between two batches.

        Args:
            sql: One statement that only reads.
            params: Its parameters: a sequence for ``?``, a mapping for ``:name``.

        Returns:
            n rows, 0 or more. They do not include what this task has staged.

        Raises:
            RowRefusedError: A parameter cannot be bound, or the statement would write.
            sqlite3.Error: The statement is invalid.
            TaskCancelledError, TaskTimeoutError: As for ``check``; the query is abandoned.
            LedgerError: The run's executor does not support this.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        query = self._checked_query(sql, params)
        try:
            rows: list[tuple[Any, ...]] = self._link.ask(self._task, query, self._look).result(self._look)
        except sqlite3.OperationalError:
            self._look()  # interrupted, because the task should end
            raise
        return rows

    # --- resuming after a failure ---

    @property
    def state(self) -> Any:
        """The state of the task's last checkpoint, from this or an earlier attempt, in this or an earlier run.

        ``None`` if there is none. Each access decodes the JSON again, and may block until the writer answers.

        Raises:
            LedgerError: The run's executor does not support this.
            TaskCancelledError, TaskTimeoutError: As for ``check``, while waiting.
            WriterBrokenError: The writer died.
        """
        state = self._task.state
        if state is None and (reply := self._ask_for_state()) is not None:
            state = reply.result(self._look)
        return None if state is None else msgspec.json.decode(state)

    def checkpoint(self, state: Any) -> None:
        """Commit everything staged so far together with ``state``; blocks until it is committed.

        These rows stay even if the task fails later, and its next attempt, in this run or the next, finds ``state``
        in ``ctx.state``. Rows staged afterwards are dropped if the attempt fails. The state is deleted once the
        task is done. If this raises because the task should end, the checkpoint is still stored, as soon as the
        writer reaches it.

        Args:
            state: What the next attempt needs in order to continue after these rows; must be storable as JSON.

        Raises:
            RowRefusedError: The state, or something staged, cannot be stored. In the latter case the task fails,
                even if it catches this.
            sqlite3.Error: Something staged violates a constraint, or a statement is invalid; the task fails.
            TaskCancelledError, TaskTimeoutError: As for ``check``, but only once the checkpoint has been sent.
            LedgerError: The run's tasks have no keys, or its executor does not support this.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        reply = self._send_checkpoint(self._checked_state(state))
        reply.result(self._look)
        self.check()

    # --- the queue that workers of run_pipeline expect ---

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Send a message that is stored at once, even if the task fails later; any thread.

        Status messages about the task itself set its id, name, times, progress and result. The first task id that
        a worker uses refers to its own row. A ``MsgTaskFinished`` takes effect when the function returns, so that
        it is committed together with what is staged.

        Args:
            item: A message: ``MsgWriteRows`` and ``MsgExecute`` write, other types go to their handler.
            block: Whether to wait while the channel is full.
            timeout: How long to wait at most, in seconds; ``None`` waits without limit.

        Raises:
            queue.Full: The channel was full, with ``block=False`` or until the timeout.
            RowRefusedError: A row of a ``MsgWriteRows`` cannot be stored.
            WriterBrokenError: The writer died.
            AttemptOverError: The task has ended.
        """
        said = self._to_be_said(item)
        if said is not None:
            self._link.say(self._task, said, self._must_be_running, block=block, timeout=timeout)

    def put_nowait(self, item: Any) -> None:
        """Send a message like ``put``, but raise ``queue.Full`` rather than wait.

        Args:
            item: The message.

        Raises:
            queue.Full: The channel is full.
            RowRefusedError, WriterBrokenError, AttemptOverError: As for ``put``.
        """
        self.put(item, block=False)


def current_task() -> TaskContext:
    """Return the context of the running task, anywhere in the code that its function calls.

    This includes code that an ``async def`` function calls, for example with ``asyncio.to_thread``; ``query``,
    ``state``, ``checkpoint`` and ``put`` then block the thread that calls them.

    Returns:
        A context of the running task.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    return TaskContext(task_here("current_task"), present_link())
