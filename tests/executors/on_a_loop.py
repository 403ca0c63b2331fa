"""What the contract suite runs, as ``async def`` functions: the same cases, and what is stopped while it runs.

A case that asks the writer for something runs in a thread; what it asks is awaited on the loop, through its task's
``AsyncTaskContext``. All others run on the loop itself.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Any

import pipeloom
from executors import limited, redoing, running
from executors.cases import tries
from executors.cases.raising import RAISES
from executors.cases.work import work

__all__ = ["as_async"]

logger = logging.getLogger("contract")

FOR_EVER_S = 1000.0


class Bridge:
    """A context for a plain function in a thread: what waits there is awaited on the loop."""

    def __init__(self, ctx: pipeloom.AsyncTaskContext) -> None:
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def __reduce__(self) -> Any:
        return self._ctx.__reduce__()

    def _await(self, waiting: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(waiting, self._loop).result()

    def query(self, *asked: Any) -> Any:
        return self._await(self._ctx.query(*asked))

    @property
    def state(self) -> Any:
        return self._await(self._ctx.state())

    def checkpoint(self, state: Any) -> None:
        self._await(self._ctx.checkpoint(state))

    def put(self, item: Any) -> None:
        self._await(self._ctx.put(item))

    def track(self, iterable: Iterable[Any], total: float | None = None) -> Iterator[Any]:
        steps = self._ctx.track(iterable, total)
        end = object()

        async def step() -> Any:
            return await anext(steps, end)

        while (element := self._await(step())) is not end:
            yield element


async def work_on_a_loop(name: str, ctx: pipeloom.AsyncTaskContext) -> object:
    """Perform one case."""
    here: Any = ctx
    if name in RAISES:
        return work(name, here)
    current = pipeloom.current_async_task()
    assert (current.task_id, current.key) == (ctx.task_id, ctx.key)
    if name in ("sets_a_context_variable", "finds_no_context_variable", "values", "many_rows", "large", "logs"):
        return work(name, here)
    bridge: Any = Bridge(ctx)
    return await asyncio.to_thread(work, name, bridge)


async def waits(item: str | int, ctx: pipeloom.AsyncTaskContext) -> str | None:
    """As ``running.waits``: one is cancelled where it waits, one sees for itself that it is to end."""
    if item == "checks":
        async for n in ctx.track(range(10), total=10):
            if n == 3:
                break
        ctx.progress(3, 10, "three of ten")
        logger.info("heard at once")
        await ctx.put(pipeloom.MsgWriteRows("heard", {"said": "put"}))
        await asyncio.sleep(FOR_EVER_S)
    if item == "looks":
        try:
            await asyncio.sleep(FOR_EVER_S)
        except asyncio.CancelledError:
            assert ctx.cancelled
            return "saw it"
    return None


async def overruns(notes: str, item: str, ctx: pipeloom.AsyncTaskContext) -> None:
    """As ``running.overruns``."""
    assert 0 < (ctx.remaining_s or 0) <= 0.25
    if item in ("quick", "after"):
        return
    ctx.write("left", {"item": item})
    if item == "does not look":
        while not running.LET_GO.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass
    elif item == "checks":
        await asyncio.sleep(FOR_EVER_S)
    elif item == "tracks":
        async for _ in ctx.track(range(100_000)):
            await asyncio.sleep(0.002)
    else:
        while True:
            await ctx.query("SELECT 1")


async def in_time_the_second_time(_item: int, ctx: pipeloom.AsyncTaskContext) -> None:
    """Overrun once."""
    if ctx.attempt == 1:
        await asyncio.sleep(FOR_EVER_S)


def _bridged(fn: Callable[..., object]) -> Callable[..., Coroutine[Any, Any, object]]:
    @functools.wraps(fn)
    async def on_a_loop(item: Any, ctx: pipeloom.AsyncTaskContext) -> object:
        return await asyncio.to_thread(fn, item, Bridge(ctx))

    del on_a_loop.__wrapped__  # type: ignore[attr-defined]  # it has a parameter more
    return on_a_loop


async def fails_at_fifty(n: int) -> None:
    """As ``running.fails_at_fifty``."""
    running.fails_at_fifty(n)


async def fails_at_fifty_and_asks(n: int, ctx: pipeloom.AsyncTaskContext) -> None:
    """As ``running.fails_at_fifty_and_asks``."""
    running.fails_at_fifty(n)
    await ctx.query("SELECT 1")


_AS_ASYNC: dict[Callable[..., object], Callable[..., object]] = {
    work: work_on_a_loop,
    running.waits: waits,
    running.in_time_the_second_time: in_time_the_second_time,
    running.fails_at_fifty: fails_at_fifty,
    running.fails_at_fifty_and_asks: fails_at_fifty_and_asks,
    limited.timed: limited.timed_on_a_loop,
    limited.slows_down: limited.slows_down_on_a_loop,
    limited.says_it_while_it_runs: limited.says_it_on_a_loop,
    running.older: _bridged(running.older),
    tries.asks: _bridged(tries.asks),
    tries.judges: _bridged(tries.judges),
    running.renumbered: _bridged(running.renumbered),
    redoing.writes: _bridged(redoing.writes),
}


def as_async(fn: Callable[..., object]) -> Callable[..., object]:
    """Return the ``async def`` function that does what a plain one of this suite does."""
    if isinstance(fn, partial):
        assert fn.func is running.overruns
        return partial(overruns, *fn.args)
    return _AS_ASYNC[fn]
