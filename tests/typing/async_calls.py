"""How typed programs use ``async def`` functions, and await a run. Only type-checked, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pipeloom
from pipeloom import AsyncTaskContext, RunReport


async def plain(name: str) -> int:
    return len(name)


async def with_ctx(name: str, ctx: AsyncTaskContext) -> dict[str, int]:
    ctx.write("t", {"name": name})
    ctx.progress(1, 2, "half")
    rows: list[tuple[object, ...]] = await ctx.query("SELECT 1 WHERE ? = 1", (1,))
    await ctx.checkpoint({"at": len(rows)})
    state: dict[str, int] = await ctx.state()
    async for _ in ctx.track(numbers(), total=3):
        await ctx.put(pipeloom.MsgWriteRows("t", {"name": name}))
    async for letter in ctx.track(name):
        print(letter.upper())
    return state


async def by_keyword(name: str, *, ctx: AsyncTaskContext) -> None:
    ctx.check()


async def with_limit(limit: int, name: str) -> int:
    return limit + len(name)


async def numbers() -> AsyncIterator[int]:
    yield 1


@asynccontextmanager
async def session() -> AsyncGenerator[dict[str, str], None]:
    yield {}


class Client:
    async def get(self, name: str, ctx: AsyncTaskContext) -> None:
        ctx.write("t", {"name": name})


pipeloom.map(plain, ["a"], db="out.db", key=len)
pipeloom.map(with_ctx, ["a"], db="out.db", workers=1000, local=session)
pipeloom.map(by_keyword, ["a"], db="out.db", executor="asyncio")
pipeloom.map(partial(with_limit, 3), ["a"], db="out.db")
pipeloom.map(Client().get, ["a"], db="out.db")
pipeloom.map(lambda name: plain(name), ["a"], db="out.db", executor="asyncio")


async def main() -> RunReport:
    done: RunReport = await pipeloom.amap(with_ctx, ["a"], db="out.db", timeout=5.0, key=lambda name: name.upper())
    await pipeloom.amap(len, ["a"], db=done.db, executor="threads")
    await pipeloom.amap(by_keyword, ["a"], db="out.db")
    async with pipeloom.start(with_ctx, ["a"], db="out.db", limit=pipeloom.Limit(rate=5), version=len) as run:
        async for outcome in run:
            print(outcome.key, outcome.error.message if outcome.error is not None else outcome.result)
        finished: RunReport = await run
    print(finished.done)
    context: AsyncTaskContext = pipeloom.current_async_task()
    print(context.key)
    return done
