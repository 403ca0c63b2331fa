"""What an ``async def`` task function holds in its hand: whatever waits is awaited, and the rest never waits."""

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

_FULL_S: Final = 0.005  # between two looks for room in the channel, which the writer empties at each commit
_HOG_S: Final = 0.01  # elements that are there at once keep the loop no longer than this


class AsyncTaskContext(BaseContext):
    """One attempt's view of its run, for an ``async def`` function: report progress, write rows, look things up.

    ``write``, ``execute``, ``add`` and ``progress`` never wait for the writer. The first three are staged: they
    commit together with the task's "done", or with its next checkpoint, or not at all. ``await ctx.put`` is at
    once, and survives the task's failure.

    When the task should end, the coroutine is cancelled where it waits (``asyncio.CancelledError``). What it
    awaits here belongs to the loop that it runs on; the rest may be used in any thread until the task ends.
    """

    __slots__ = ()

    async def track(self, iterable: Iterable[T] | AsyncIterable[T], total: float | None = None) -> AsyncIterator[T]:
        """Yield from ``iterable``, with progress and cancellation per element; keeps the message said last.

        Where elements come without being awaited, others on the loop get their turn every 10 ms.

        Args:
            iterable: n elements, awaited or not.
            total: n, when ``len(iterable)`` does not say.

        Raises:
            TaskCancelledError: The run is being cancelled.
            TaskTimeoutError: The task's ``timeout`` is over.
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
        """Read from what is committed; the writer answers between two batches.

        Args:
            sql: One statement that reads.
            params: Values for its ``?`` or, as a mapping, for its ``:name`` parameters.

        Returns:
            n rows. What this task has staged is not in them.

        Raises:
            RowRefusedError: A parameter cannot be stored, or the statement would write.
            sqlite3.Error: The statement is wrong.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        query = self._checked_query(sql, params)
        await self._room()
        rows: list[tuple[Any, ...]] = await _answer_of(self._link.ask(self._task, query, self._look))
        return rows

    async def state(self) -> Any:
        """Return what the task's last checkpoint said, in this try or an earlier one, in this run or one before.

        ``None`` when there is none. Decoded anew at each call.
        """
        state = self._task.state
        if state is None:
            await self._room()
            if (reply := self._ask_for_state()) is not None:
                state = await _answer_of(reply)
        return None if state is None else msgspec.json.decode(state)

    async def checkpoint(self, state: Any) -> None:
        """Commit what is staged together with ``state``; returns once it is on file.

        Whatever happens to the task later, those rows stay, and its next try, in this run or the next, finds
        ``state`` in ``ctx.state()``. What is staged later goes with the try. Done clears the state. When the
        coroutine is cancelled while it waits for the writer, it is stored all the same.

        Args:
            state: JSON: what the next try needs to go on behind these rows.

        Raises:
            RowRefusedError: Something staged, or the state, cannot be stored; the task cannot be done any more.
            sqlite3.Error: What is staged breaks a constraint, or a statement is wrong; likewise.
            TaskCancelledError, TaskTimeoutError: As ``check``, but never before it is on its way.
            LedgerError: The run has no keys, so that no later try would find it.
            AttemptOverError: The task has ended.
            WriterBrokenError: The writer died.
        """
        text = self._checked_state(state)
        await self._room()
        await _answer_of(self._send_checkpoint(text))
        self.check()

    async def put(self, item: Any) -> None:
        """Say something at once, whatever becomes of the task; waits while the channel is full.

        A status message about the task itself is believed, as in :meth:`TaskContext.put`.

        Args:
            item: A message; ``MsgWriteRows`` and ``MsgExecute`` write, other types go to their handler.

        Raises:
            WriterBrokenError: The writer died.
            AttemptOverError: The task has ended.
        """
        said = self._to_be_said(item)
        while said is not None and not self._say(said):
            await asyncio.sleep(_FULL_S)
            self._must_be_running()

    def put_nowait(self, item: Any) -> None:
        """Like ``put``, but raises ``queue.Full`` rather than wait.

        Args:
            item: The message.

        Raises:
            queue.Full: There is no room.
        """
        said = self._to_be_said(item)
        if said is not None and not self._say(said):
            raise queue.Full

    async def _room(self) -> None:
        """Wait until what is sent does not have to."""
        while self.full():  # noqa: ASYNC110 - the writer, in its thread, tells nobody when it makes room
            await asyncio.sleep(_FULL_S)

    def _say(self, message: object) -> bool:
        """Send a message if there is room."""
        try:
            self._link.say(self._task, message, self._must_be_running, block=False, timeout=None)
        except queue.Full:
            return False
        return True


def current_async_task() -> AsyncTaskContext:
    """Return the context of the task that is running here, in an ``async def`` function that a task awaits.

    Raises:
        RuntimeError: No task is running in this thread or context.
    """
    return AsyncTaskContext(task_here("current_async_task"), present_link())


async def _answer_of(reply: Reply) -> Any:
    """Return what is answered, or raise what went wrong; when this is cancelled, nobody waits for it any more."""
    loop = asyncio.get_running_loop()
    given = asyncio.Event()

    def tell() -> None:
        try:
            loop.call_soon_threadsafe(given.set)
        except RuntimeError:
            pass  # the loop has been closed: nobody waits there

    reply.when_given(tell)
    try:
        await given.wait()
    except asyncio.CancelledError:
        reply.is_abandoned = True
        raise
    return reply.result()
