"""Mistakes that a user's type checker finds: one on each marked line, and none elsewhere.

That pytest is missing shows that the checker looks into the user's environment rather than ours.
"""

from __future__ import annotations

import queue
from pathlib import Path

import pytest  # noqa: F401  # wrong

import pipeloom
from pipeloom import AsyncTaskContext, Msg, MsgTaskStarted, MsgWriteRows, Retry, TaskContext


def double(number: int) -> int:
    return 2 * number


def misspell() -> None:
    from pipeloom import Nonesuch  # noqa: F401  # wrong


def load(path: Path, ctx: TaskContext) -> None:
    ctx.write("lines", 5)  # wrong
    ctx.write("lines", {"a": 1}, on_conflict="replace")  # wrong
    ctx.progres(1, 2)  # wrong
    ctx.progress("half")  # wrong
    list(ctx.track(5))  # wrong
    ctx.query(path)  # wrong
    left: float = ctx.remaining_s  # wrong
    print(left)


def number_worker(task: int, messages: queue.Queue[Msg]) -> None:
    messages.put("started")  # wrong
    messages.put(MsgTaskStarted(task, "name"))  # wrong
    messages.put(MsgWriteRows("lines", [], on_conflict="replace"))  # wrong


def with_wrong_ctx(number: int, ctx: int) -> int:
    return number + ctx


def with_wrong_keyword(number: int, *, ctx: int) -> int:
    return number + ctx


def with_limit(number: int, limit: int) -> int:
    return number + limit


def with_queue(number: int, messages: queue.Queue[Msg]) -> None:
    messages.put(MsgTaskStarted(number, "name", "2026-01-31T12:00:00+00:00"))


def with_list(number: int, messages: list[Msg]) -> None:
    print(number, messages)


def with_keyword(number: int, *, ctx: TaskContext) -> None:
    ctx.progress(number)


def name_of(path: Path) -> str:
    return path.name


class Loader:
    def __call__(self, path: Path, ctx: TaskContext) -> None:
        ctx.write("paths", {"name": path.name})


pipeloom.map(double, ["a"], db="out.db")  # wrong
pipeloom.map(load, ["a"], db="out.db")  # wrong
pipeloom.map(Loader(), ["a"], db="out.db")  # wrong
pipeloom.map(Loader, [Path("a")], db="out.db")  # wrong
pipeloom.map(with_wrong_ctx, [1], db="out.db")  # wrong
pipeloom.map(with_wrong_keyword, [1], db="out.db")  # wrong
pipeloom.map(with_limit, [1], db="out.db")  # wrong
pipeloom.map(with_queue, [1], db="out.db")  # wrong
pipeloom.map(double, [1], db="out.db", key=name_of)  # wrong
pipeloom.map(double, [1], db="out.db", key=lambda number: number.name)  # wrong
pipeloom.map(lambda number: number.name, [1], db="out.db")  # wrong
pipeloom.map(lambda number, ctx: ctx.progres(number), [1], db="out.db")  # wrong
pipeloom.run_pipeline([1], worker_fn=double)  # wrong
pipeloom.run_pipeline([1], worker_fn=with_list)  # wrong
pipeloom.run_pipeline([1], worker_fn=with_keyword)  # wrong
pipeloom.run_pipeline([1], worker_fn=with_queue, key=name_of)  # wrong
pipeloom.run_pipeline([1], worker_fn=lambda number, ctx: ctx.progres(number))  # wrong


async def awaits(number: int, ctx: AsyncTaskContext) -> None:
    ctx.query("SELECT 1")  # wrong
    len(await ctx.state)  # wrong
    for _ in ctx.track([1]):  # wrong
        pass


async def awaits_a_run() -> None:
    await pipeloom.amap(awaits, ["a"], db="out.db")  # wrong
    await pipeloom.amap(awaits, [1], db="out.db", workers="four")  # wrong
    await pipeloom.amap(awaits, [1], db="out.db", worker=4)  # wrong
    await pipeloom.amap(awaits, [1])  # wrong
    text: str = await pipeloom.amap(awaits, [1], db="out.db")  # wrong
    print(text)


pipeloom.map(awaits, ["a"], db="out.db")  # wrong
pipeloom.map(double, [1], db="out.db", workers="four")  # wrong
pipeloom.map(double, [1], db="out.db", on_error="rise")  # wrong
pipeloom.map(double, [1], db="out.db", durability="ful")  # wrong
pipeloom.map(double, [1], db="out.db", retries="3")  # wrong
pipeloom.map(double, [1], db="out.db", worker=2)  # wrong
pipeloom.map(double, [1], db=None)  # wrong
pipeloom.map(double, [1])  # wrong
pipeloom.map(double, [1], "out.db")  # wrong
pipeloom.map(double, 1, db="out.db")  # wrong
pipeloom.map("double", [1], db="out.db")  # wrong
pipeloom.map(double, [1], db="out.db", tables={"lines": ["a"]})  # wrong
pipeloom.map(double, [1], db="out.db", handlers={"Reading": print})  # wrong
pipeloom.run_pipeline([1], "out.db")  # wrong
pipeloom.run_pipeline(["a"], worker_fn=number_worker)  # wrong
pipeloom.connect_readonly(5)  # wrong
pipeloom.mapp(double, [1], db="out.db")  # wrong
Retry(attempts="three")  # wrong
Retry(on=["OSError"])  # wrong

report = pipeloom.map(double, [1], db="out.db")
print(report.dones)  # wrong
text: str = report.done  # wrong
report.done = 3  # wrong
pipeloom.map(load, [Path("a")], db="out.db", on_error="collect").failures.append(report)  # wrong
