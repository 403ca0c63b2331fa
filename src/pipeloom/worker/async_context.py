"""The context of an ``async def`` function: methods that wait are awaited; the others never block."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from operator import length_hint
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from pipeloom.worker.base_context import BaseContext
from pipeloom.worker.current import present_link, task_here
from pipeloom.worker.link import Reply

__all__ = ["AsyncTaskContext", "current_async_task"]

T = TypeVar("T")

_FULL_S: Final = 0.005  # between two checks for room in the channel, which the writer empties at each commit
_HOG_S: Final = 0.01  # elements that need no awaiting block the event loop no longer than this


class AsyncTaskContext(BaseContext):
    """What one attempt of an ``async def`` task can do: report progress, write rows, add inputs, query the file.

    ``write``, ``execute``, ``add`` and ``progress`` never wait for the writer. The first three are staged: they are
    committed together with the task's status ``done`` or with its next checkpoint, or not at all. What
    ``await ctx.put(...)`` sends is stored at once, even if the task fails later.

    When the task should end, its coroutine is cancelled at the ``await`` where it waits
    (``asyncio.CancelledError``). Methods that are awaited must be used on the task's event loop; the others may be
    used in any thread. All of them can be used until the task ends.
    """

    __slots__ = ()

    async def track(self, iterable: Iterable[T] | AsyncIterable[T], total: float | None = None) -> AsyncIterator[T]:
        """Yield the elements of ``iterable``; report progress and call ``check`` for each. Keeps the last message.

        If ``iterable`` is not asynchronous, this yields to the event loop every 10 ms.

        Args:
            iterable: n elements; a plain or an asynchronous iterable.
            total: n, if ``iterable`` has no length.

        Returns:
            An asynchronous iterator over the n elements.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` has expired.
        """
        if total is None:
            total = length_hint(iterable) or None
        self._show(0, total)
        step, turn = 0, monotonic()
        if isinstance(iterable, AsyncIterable):
            async for element in iterable:
                self.check()
                yield element
                step += 1
                self._show(step, total)
        else:
            for step, element in enumerate(iterable, 1):
                self.check()
                yield element
                self._show(step, total)
                if monotonic() - turn > _HOG_S:
                    await asyncio.sleep(0)
                    turn = monotonic()
        self._show(step if total is None else total, total)

    def _show(self, step: float, total: float | None) -> None:
        self._task.progress = (step, total, self._task.progress[2])

    async def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """Query the committed data; the writer answers between two batches.

        Args:
            sql: One statement that only reads.
            params: Its parameters: a sequence for ``?``, a mapping for ``:name``.

        Returns:
            n rows, 0 or more. They do not include what this task has staged.

        Raises:
            RowRefusedError: A parameter cannot be bound, or the statement would write.
            sqlite3.Error: The statement is invalid.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        query = self._checked_query(sql, params)
        await self._room()
        rows: list[tuple[Any, ...]] = await _answer_of(self._link.ask(self._task, query, self._look))
        return rows

    async def state(self) -> Any:
        """Return the state of the task's last checkpoint, from this or an earlier attempt, this or an earlier run.

        Returns:
            The state; ``None`` if there is none. Each call decodes the JSON again.

        Raises:
            WriterBrokenError: The writer died.
        """
        state = self._task.state
        if state is None:
            await self._room()
            if (reply := self._ask_for_state()) is not None:
                state = await _answer_of(reply)
        return None if state is None else msgspec.json.decode(state)

    async def checkpoint(self, state: Any) -> None:
        """Commit everything staged so far together with ``state``; returns once it is committed.

        These rows stay even if the task fails later, and its next attempt, in this run or the next, finds ``state``
        in ``ctx.state()``. Rows staged afterwards are dropped if the attempt fails. The state is deleted once the
        task is done. If the coroutine is cancelled while it waits for the writer, the checkpoint is still stored.

        Args:
            state: What the next attempt needs in order to continue after these rows; must be storable as JSON.

        Raises:
            RowRefusedError: The state, or something staged, cannot be stored. In the latter case the task fails,
                even if it catches this.
            sqlite3.Error: Something staged violates a constraint, or a statement is invalid; the task fails.
            TaskCancelledError, TaskTimeoutError: As for ``check``, but only once the checkpoint has been sent.
            LedgerError: The run's tasks have no keys.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        text = self._checked_state(state)
        await self._room()
        await _answer_of(self._send_checkpoint(text))
        self.check()

    async def put(self, item: Any) -> None:
        """Send a message that is stored at once, even if the task fails later; waits while the channel is full.

        Status messages about the task itself are applied to it, as in :meth:`TaskContext.put`.

        Args:
            item: A message: ``MsgWriteRows`` and ``MsgExecute`` write, other types go to their handler.

        Raises:
            RowRefusedError: A row of a ``MsgWriteRows`` cannot be stored.
            WriterBrokenError: The writer died.
            AttemptOverError: The task has ended.
        """
        said = self._to_be_said(item)
        while said is not None and not self._say(said):
            await asyncio.sleep(_FULL_S)
            self._must_be_running()

    def put_nowait(self, item: Any) -> None:
        """Send a message like ``put``, but raise ``queue.Full`` rather than wait; a plain method, not a coroutine.

        Args:
            item: The message.

        Raises:
            queue.Full: The channel is full.
            RowRefusedError, WriterBrokenError, AttemptOverError: As for ``put``.
        """
        said = self._to_be_said(item)
        if said is not None and not self._say(said):
            raise queue.Full

    async def _room(self) -> None:
        """Wait until a message can be sent without blocking."""
        while self.full():  # noqa: ASYNC110 - the writer, in its own thread, gives no notice when it makes room
            await asyncio.sleep(_FULL_S)

    def _say(self, message: object) -> bool:
        """Send a message if there is room."""
        try:
            self._link.say(self._task, message, self._must_be_running, block=False, timeout=None)
        except queue.Full:
            return False
        return True


def current_async_task() -> AsyncTaskContext:
    """Return the context of the running task, anywhere in the ``async def`` functions that it awaits.

    Returns:
        A context of the running task.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    return AsyncTaskContext(task_here("current_async_task"), present_link())


async def _answer_of(reply: Reply) -> Any:
    """Return the answer, or raise the error that replaced it; cancelling this abandons the answer."""
    loop = asyncio.get_running_loop()
    given = asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(given.set)
        except RuntimeError:
            pass  # the loop has been closed, so nothing on it waits

    reply.when_given(tell)
    try:
        await given.wait()
    except asyncio.CancelledError:
        reply.is_abandoned = True
        raise
    return reply.result()
