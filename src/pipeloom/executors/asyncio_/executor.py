"""Workers that are tasks of one event loop.

::

    a separate thread   ── desk.next, waits ──▶ ┐
    the loop            ── desk.more ────────▶ ├─▶ a place ─▶ asyncio.Task: perform_async ─▶ desk.end, offer
                                                └── tasks that are available at once need no thread

Only the users' functions wait on the loop: a task that has ended is offered to the writer, and kept while the
channel is full. The loop is our own, in a thread, or the one on which the caller awaits the run.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from time import monotonic
from typing import Any, Final, Generic

from pipeloom.data import stopwatch
from pipeloom.data.rates import duration
from pipeloom.data.text import describe
from pipeloom.errors import (
    ChannelClosedError,
    PipeloomError,
    TaskCancelledError,
    TaskTimeoutError,
    WriterBrokenError,
)
from pipeloom.executors.asyncio_.watch import LoopWatch, where_it_waits
from pipeloom.executors.base import ALL, Desk, T, joined, telling
from pipeloom.executors.forks import orphan_in_forks
from pipeloom.statuses import QUEUED, RUNNING
from pipeloom.wire import Ability, Outcome
from pipeloom.worker.current import CallerContext
from pipeloom.worker.local import Local, not_a_manager
from pipeloom.worker.perform import ended_outside
from pipeloom.worker.perform_async import never_begun, perform_async

__all__ = ["AsyncioExecutor"]

logger = logging.getLogger("pipeloom")

_FULL_S: Final = (
    0.005  # between two attempts to hand over tasks while the channel is full; the writer empties it at each commit
)
_UNWIND_S: Final = 1.0  # how long a cancelled coroutine has to end before it is given up
_SWALLOWED: Final = f"it did not end within {duration(_UNWIND_S)} of being cancelled, and is still running"


class AsyncioExecutor(Generic[T]):
    """Performs ``async def`` functions, several concurrently.

    Args:
        workers: How many at once, at least 1.
        local: Called once, on the loop; the value is ``ctx.local``.
        loop: The loop on which the caller awaits the run; ``None`` creates one, in a daemon thread.
    """

    name: Final = "asyncio"
    can: Final[AbstractSet[Ability]] = frozenset({"live", "logs", "ask", "checkpoint"})

    def __init__(
        self, workers: int, local: Local | None = None, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.workers = workers
        self._free = list(reversed(range(workers)))
        self._local = local
        self._value: Any = None
        self._runner: asyncio.Runner | None = None
        if loop is None:
            # With a factory, this does not affect an event loop of the calling thread.
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            loop = self._runner.get_loop()
        self._loop = loop
        self._threads: list[threading.Thread] = []
        self._watch: LoopWatch | None = None
        # The attempts that have not ended. The loop and the run's thread may both try to end one: whichever removes
        # the entry does so.
        self._open: dict[T, asyncio.Task[None]] = {}
        self._cancelled: dict[T, float] = {}  # when tasks were cancelled that have not ended yet
        self._given_up: set[asyncio.Task[None] | None] = set()  # references, since a loop keeps only weak ones
        self._unsent: deque[T] = deque()  # tasks that have ended, while the channel is full
        self._hungry = threading.Semaphore(0)  # released when the loop could start a task but has none
        self._waits = False  # whether a task is being fetched by the thread
        self._is_filling = False
        self._may_take_until = (
            0.0  # when entering or exiting `local=` must be over, once the run is being cancelled
        )
        self._is_exhausted = False
        self._has_left = False
        orphan_in_forks(self)

    # --- the run's thread ---

    def prepare(self) -> None:
        """Do nothing: a loop starts quickly."""

    def start(self, desk: Desk[T]) -> set[int]:
        """Start to serve the loop; see :class:`~pipeloom.executors.base.Executor`."""
        self._desk = desk
        self._slots = desk.slots
        self._surroundings = CallerContext(desk.link)
        if self._runner is None:
            self._call(self._serve_here)
        else:
            self._start_thread("pipeloom-loop", partial(self._live, self._runner))
        self._start_thread("pipeloom-fetch", self._fetch)
        return {ALL}

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def look(self) -> None:
        """Check whether tasks should end, whether one blocks the loop, and whether the loop has been closed."""
        if self._desk.link.cancelling:
            self._call(self._end_all)
        if self._watch is not None:
            self._watch.look()
        if self._runner is None:
            self._call(self._sweep)
            if self._loop.is_closed():
                self._leave()

    def give_up(self, place: int, task: T, error: Exception | None = None) -> bool:  # noqa: ARG002 - the task is enough
        """End a task from outside, unless it still has time to end by itself; its coroutine continues."""
        if error is None:
            assert task.deadline is not None
            if stopwatch.monotonic() < task.deadline + _UNWIND_S:
                return False  # it has just been cancelled, or will be at the loop's next step
            why = "the event loop was blocked" if task.ending is None else _SWALLOWED
            error = TaskTimeoutError(f"not done after {duration(self._desk.link.brief.timeout_s)}; {why}")
        if task.status != RUNNING or (running := self._open.pop(task, None)) is None:
            return False
        self._given_up.add(running)
        if task.ending is None:
            self._call(running.cancel)  # the loop is blocked, so it has not been cancelled yet
        thread = None if self._watch is None else self._watch.thread
        self._desk.end(task, ended_outside(task, self._desk.link, error, where_it_waits(running, thread, error)))
        return True

    def replace(self, place: int) -> bool:
        """Free a place whose task was given up; always return true."""
        self._call(self._free_again, place)
        return True

    def join(self, timeout_s: float) -> int:
        """Wait for the threads, which are about to end."""
        self._has_left = True
        self._hungry.release()
        return joined(self._threads, timeout_s)

    def close(self) -> None:
        """Leave coroutines that are still running, since one that ignores its cancellation cannot be stopped."""
        self._has_left = True
        self._hungry.release()
        if self._runner is not None and not self._threads:
            self._runner.close()  # it was never used

    def performed(self) -> list[T]:
        """Return the running tasks; any thread."""
        return list(self._open)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        """Schedule a call of a function on the loop; any thread."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass  # it has been closed: `look` ends the tasks that were on it

    def _leave(self) -> None:
        """End the tasks on a loop that its owner has closed: none of them will continue."""
        if self._has_left:
            return
        self._has_left = True
        error = TaskCancelledError("its event loop was closed")
        for task in tuple(self._open):
            if task.status == RUNNING and self.give_up(0, task, error):
                self._unsent.append(task)
        with telling(self._desk):
            for task in self._unsent:
                self._desk.hand_over(task)
        self._desk.fail(
            RuntimeError("the event loop was closed before the run had ended: run it again to do the rest")
        )
        self._desk.left(ALL)

    # --- the thread that fetches ---

    def _fetch(self) -> None:
        """Wait for the next task whenever the loop has none to start."""
        task: T | None = None
        with telling(self._desk):
            while True:
                self._hungry.acquire()
                if self._has_left or (task := self._desk.next()) is None:
                    break
                self._call(self._fetched, task)
        self._call(self._fetched, None)

    # --- the loop ---

    def _live(self, runner: asyncio.Runner) -> None:
        """Serve a loop of our own, in its thread."""
        with telling(self._desk), runner:
            self._server = self._task_of(self._serve())
            while not self._server.done():
                try:
                    self._loop.run_until_complete(self._server)
                except (SystemExit, KeyboardInterrupt):
                    if self._server.done():
                        raise
                    # Raised by something that a task started: code that awaits it receives it; the rest continues.

    def _serve_here(self) -> None:
        """Serve the caller's loop."""
        self._server = self._task_of(self._serve())

    async def _serve(self) -> None:
        """Perform tasks until there are no more or the writer has ended; then report that, whatever happened."""
        self._watch = LoopWatch(threading.get_ident())
        self._over = self._loop.create_future()
        try:
            with telling(self._desk):
                stack = AsyncExitStack()
                try:
                    if self._local is not None:
                        self._value = await _entered(stack, self._local)
                    self._may_take_until = inf
                    self._fill()
                    await self._until_over()
                finally:
                    self._may_take_until = monotonic() + _UNWIND_S
                    await _leave_local(stack)
        finally:
            self._watch = None
            self._has_left = True
            self._desk.left(ALL)

    async def _until_over(self) -> None:
        """Wait for the end, even on a loop that cancels everything: the outcomes of running tasks come first."""
        while not self._over.done():
            try:
                await asyncio.shield(self._over)
            except asyncio.CancelledError:
                continue

    def _fill(self, fetched: T | None = None) -> None:
        """Start tasks in the free places, and check whether everything is over."""
        self._is_filling = False
        try:
            if fetched is not None:
                self._begin(fetched)
            # A place is kept for the task that is being fetched.
            while (room := len(self._free) - self._waits) > 0 and not self._unsent:
                # `more` may wait for room in the channel: in that case the other thread calls it.
                if self._is_full() or not (found := self._desk.more(room)):
                    break
                for task in found:
                    self._begin(task)
        except (WriterBrokenError, ChannelClosedError):
            self._is_exhausted = True
        except BaseException as error:  # noqa: BLE001 - a fault of our own: the run must not continue as if nothing happened
            self._desk.fail(error)
            self._is_exhausted = True
        if self._is_exhausted:
            if not (self._open or self._unsent or self._over.done()):
                self._over.set_result(None)
        elif self._free and not self._unsent and not self._waits:
            self._waits = True
            self._hungry.release()

    def _is_full(self) -> bool:
        waiting, capacity = self._desk.link.backlog()
        return waiting >= capacity

    def _fetched(self, task: T | None) -> None:
        self._waits = False
        if task is None:
            self._is_exhausted = True
        self._fill(task)

    def _begin(self, task: T) -> None:
        if task.status != QUEUED:  # refused before it started
            self._send(task)
            return
        place = self._free.pop()
        task.worker = "asyncio"
        task.local = self._value
        self._slots[place] = task
        self._open[task] = self._task_of(self._perform(place, task))

    def _task_of(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Schedule a coroutine in a context of its own.

        This does not use the loop's method: its owner may have set a task factory, and an eager one would start the
        coroutine here.
        """
        return asyncio.Task(coroutine, loop=self._loop, context=self._surroundings.copy())

    async def _perform(self, place: int, task: T) -> None:
        """Perform a task, pass on its outcome, and free its place."""
        link = self._desk.link
        timeout_s, timer = link.brief.timeout_s, None
        if timeout_s is not None:
            timer = self._loop.call_later(timeout_s, self._time_is_over, task, timeout_s)
        outcome = await perform_async(task, link)
        if timer is not None:
            timer.cancel()
        try:
            self._ended(place, task, outcome)
        except BaseException as error:  # noqa: BLE001 - a fault of our own: the run must not continue as if nothing happened
            self._desk.fail(error)

    def _ended(self, place: int, task: T, outcome: Outcome) -> None:
        task.local = None
        if task.ending is not None:
            self._cancelled.pop(task, None)
        if self._open.pop(task, None) is None:
            self._given_up -= {asyncio.current_task()}
            self._desk.returned(task)
            return
        self._desk.end(task, outcome)
        self._send(task)
        self._free_again(place)

    def _sweep(self) -> None:
        """End tasks that were cancelled before their first line ran, as other code on the caller's loop can do."""
        for place, task in enumerate(self._slots):
            if task is not None and (running := self._open.get(task)) is not None and running.done():
                self._ended(place, task, never_begun(task, self._desk.link))

    def _free_again(self, place: int) -> None:
        self._slots[place] = None
        self._free.append(place)
        if not self._is_filling:
            self._is_filling = True
            self._loop.call_soon(self._fill)  # once for all tasks that end now

    def _send(self, task: T) -> None:
        """Offer a task to the writer, after those that are waiting for room."""
        if self._unsent or not self._is_taken(task):
            self._unsent.append(task)
            if len(self._unsent) == 1:
                self._loop.call_later(_FULL_S, self._send_again)

    def _send_again(self) -> None:
        while self._unsent and self._is_taken(self._unsent[0]):
            self._unsent.popleft()
        if self._unsent:
            self._loop.call_later(_FULL_S, self._send_again)
        else:
            self._fill()

    def _is_taken(self, task: T) -> bool:
        try:
            return self._desk.offer(task)
        except (WriterBrokenError, ChannelClosedError):
            return True  # the writer has ended; the run knows, and reports why

    def _time_is_over(self, task: T, timeout_s: float) -> None:
        """Cancel a task whose time limit has expired, by a clock that stops while the program is suspended."""
        if task not in self._open:
            return
        left = timeout_s if task.deadline is None else task.deadline - stopwatch.monotonic()
        if left > 0:
            self._loop.call_later(left, self._time_is_over, task, timeout_s)
        else:
            self._cancel(task, TaskTimeoutError(f"not done after {duration(timeout_s)}"))

    def _end_all(self) -> None:
        """Cancel all tasks, since the run is being cancelled; give up those that ignore it."""
        if monotonic() > self._may_take_until:
            self._server.cancel()
        for place, task in enumerate(self._slots):
            if task is not None and task in self._open and task.status == RUNNING:
                self._cancel(task, TaskCancelledError("the run is being cancelled"))
                if monotonic() > self._cancelled[task] + _UNWIND_S:
                    error = TaskCancelledError(f"the run is being cancelled; {_SWALLOWED}")
                    if self.give_up(place, task, error):
                        self._send(task)
                        self._free_again(place)

    def _cancel(self, task: T, reason: PipeloomError) -> None:
        """Cancel a task's coroutine, only once: it may have to wait for something before it can end."""
        if task.ending is None:
            task.ending = reason
            self._cancelled[task] = monotonic()
            self._open[task].cancel()


async def _entered(stack: AsyncExitStack, local: Local) -> Any:
    manager: Any = local()
    if hasattr(type(manager), "__aenter__"):
        return await stack.enter_async_context(manager)
    if hasattr(type(manager), "__enter__"):
        return stack.enter_context(manager)
    raise not_a_manager(manager)


async def _leave_local(stack: AsyncExitStack) -> None:
    try:
        await stack.aclose()
    except BaseException as error:  # noqa: BLE001 - foreign code: what the tasks did is stored nevertheless
        logger.warning("local= raised when its worker ended: %s", describe(error))
