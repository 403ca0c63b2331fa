"""What a task function holds in its hand, and what an old worker calls its queue."""

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
    """One attempt's view of its run: report progress, write rows, look things up.

    ``write``, ``execute`` and ``add`` are staged: they commit together with the task's "done", or with its next
    checkpoint, or not at all. ``put`` is at once, and survives the task's failure. Any thread may use it until the
    task ends.

    It belongs to its process, and cannot be pickled. In a child that the task forks, what would have to be stored
    raises ``WriterBrokenError``, and ``progress`` changes nothing.
    """

    __slots__ = ()

    def track(self, iterable: Iterable[T], total: float | None = None) -> Iterator[T]:
        """Yield from ``iterable``, with progress and cancellation per element; keeps the message said last.

        Where ``write`` takes what it yields: per handful, as many as come in about a millisecond.

        Args:
            iterable: n elements.
            total: n, when ``len(iterable)`` does not say.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` is over.
        """
        return Track(self.check, self._task, self._link, iterable, total)

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Read from what is committed; blocks until the writer answers, between two batches.

        Args:
            sql: One statement that reads.
            params: Values for its ``?`` or, as a mapping, for its ``:name`` parameters.

        Returns:
            n rows. What this task has staged is not in them.

        Raises:
            RowRefusedError: A parameter cannot be stored, or the statement would write.
            sqlite3.Error: The statement is wrong.
            TaskCancelledError, TaskTimeoutError: As ``check``; the question is given up.
            WriterBrokenError: The writer died.
        """
        query = self._checked_query(sql, params)
        try:
            rows: list[tuple[Any, ...]] = self._link.ask(self._task, query, self._look).result(self._look)
        except sqlite3.OperationalError:
            self._look()  # interrupted, because the task should end
            raise
        return rows

    # --- going on after a failure ---

    @property
    def state(self) -> Any:
        """What the task's last checkpoint said, in this try or an earlier one, in this run or an earlier one.

        ``None`` when there is none. Decoded anew at each use; may block until the writer answers.
        """
        state = self._task.state
        if state is None and (reply := self._ask_for_state()) is not None:
            state = reply.result(self._look)
        return None if state is None else msgspec.json.decode(state)

    def checkpoint(self, state: Any) -> None:
        """Commit what is staged together with ``state``; blocks until it is on file.

        Whatever happens to the task later, those rows stay, and its next try, in this run or the next, finds
        ``state`` in ``ctx.state``. What is staged later goes with the try. Done clears the state. When it raises
        because the task should end, it is stored all the same, as soon as the writer comes to it.

        Args:
            state: JSON: what the next try needs to go on behind these rows.

        Raises:
            RowRefusedError: Something staged, or the state, cannot be stored; the task cannot be done any more.
            sqlite3.Error: What is staged breaks a constraint, or a statement is wrong; likewise.
            TaskCancelledError, TaskTimeoutError: As ``check``, but never before it is on its way.
            LedgerError: The run has no keys, so that no later try would find it; or its executor cannot do this.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        reply = self._send_checkpoint(self._checked_state(state))
        reply.result(self._look)
        self.check()

    # --- the queue that an old worker expects ---

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Say something at once, whatever becomes of the task; any thread.

        A status message about the task itself is believed: its number, name, time, progress, result. The first
        number a worker says means its own row; its "finished" is held until the function returns, so that it
        commits together with what is staged.

        Args:
            item: A message; ``MsgWriteRows`` and ``MsgExecute`` write, other types go to their handler.
            block: Wait while the channel is full.
            timeout: How long to wait at most.

        Raises:
            queue.Full: No room, or not in time.
            WriterBrokenError: The writer died.
            AttemptOverError: The task has ended.
        """
        said = self._to_be_said(item)
        if said is not None:
            self._link.say(self._task, said, self._must_be_running, block=block, timeout=timeout)

    def put_nowait(self, item: Any) -> None:
        """Like ``put``, but raises ``queue.Full`` rather than wait.

        Args:
            item: The message.

        Raises:
            queue.Full: There is no room.
        """
        self.put(item, block=False)


def current_task() -> TaskContext:
    """Return the context of the task that is running here, anywhere below its function.

    Also in what an ``async def`` function calls, as with ``asyncio.to_thread``: what waits (``query``, ``state``,
    ``checkpoint``, ``put``) then blocks the thread that it is called in.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    return TaskContext(task_here("current_task"), present_link())
