"""Task functions of runs with limits; worker processes import this module, so it imports little."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic, sleep

import pipeloom

SLOWED_S = 0.3
TASK_S = 0.01


def host_of(item: str) -> str:
    """Return what the limits of these runs are counted for."""
    return item.partition("/")[0]


def timed(_item: str) -> list[float]:
    """Take a moment; return when that began and ended, by the machine's clock."""
    began = monotonic()
    sleep(TASK_S)
    return [began, monotonic()]


async def timed_on_a_loop(_item: str) -> list[float]:
    """As ``timed``."""
    began = monotonic()
    await asyncio.sleep(TASK_S)
    return [began, monotonic()]


def slows_down(item: str, ctx: pipeloom.TaskContext) -> list[float]:
    """Have others wait, and fail; then, as the others, return when it began, and when that was."""
    began = monotonic()
    if item.endswith("slow") and ctx.attempt == 1:
        ctx.slow_down(SLOWED_S)
        ctx.slow_down(SLOWED_S / 10)
        raise ConnectionError("too many requests")
    return [began, monotonic()]


async def slows_down_on_a_loop(item: str, ctx: pipeloom.AsyncTaskContext) -> list[float]:
    """As ``slows_down``."""
    return slows_down(item, ctx)  # type: ignore[arg-type]  # what it calls never waits, and so is the same


def says_it_while_it_runs(flag: str, ctx: pipeloom.TaskContext) -> None:
    """Have others wait; end once the run has heard it."""
    ctx.slow_down(30)
    for _ in range(2000):
        if Path(flag).exists():
            return
        sleep(0.01)
    raise TimeoutError("the run does not hear it")


async def says_it_on_a_loop(flag: str, ctx: pipeloom.AsyncTaskContext) -> None:
    """As ``says_it_while_it_runs``."""
    ctx.slow_down(30)
    for _ in range(2000):
        if await asyncio.to_thread(Path(flag).exists):
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the run does not hear it")


def slows_the_rest_down(n: int, ctx: pipeloom.TaskContext) -> float:
    """Take a millisecond; the twentieth has all others wait."""
    sleep(0.001)
    if n == 20:
        ctx.slow_down(SLOWED_S * 2)
    return monotonic()
