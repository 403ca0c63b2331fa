"""The many ways to pass a function: none is a mistake to a type checker. Only type-checked, never run."""

from __future__ import annotations

import functools
import operator
import queue
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pipeloom
from pipeloom import Msg, MsgTaskStarted, TaskContext

PATHS = [Path("a"), Path("b")]


@dataclass(frozen=True)
class Reading:
    value: float


def paths() -> Iterator[Path]:
    yield from PATHS


# --- map: functions of one input ---


def plain(path: Path) -> int:
    return len(path.name)


def wide(path: str | Path) -> None:
    print(path)


def of_mapping(row: Mapping[str, int]) -> int:
    return row["a"]


def with_default(path: Path, limit: int = 3) -> int:
    return limit + len(path.name)


def with_keywords(path: Path, **options: Any) -> int:
    return len(path.name) + len(options)


def variadic(*several: Path) -> int:
    return len(several)


@functools.cache
def cached(path: Path) -> int:
    return len(path.name)


class Simple:
    def __init__(self, path: Path) -> None:
        self.path = path


pipeloom.map(plain, PATHS, db="out.db")
pipeloom.map(plain, [], db="out.db")
pipeloom.map(plain, paths(), db=Path("out.db"), key=PATHS.index)
pipeloom.map(plain, sorted(Path().glob("*")), db="out.db", key=lambda path: path.name)
pipeloom.map(plain, (Path(name) for name in "ab"), db="out.db", key=operator.attrgetter("name"))
pipeloom.map(plain, {Path("a"): 1}, db="out.db", key=str)
pipeloom.map(wide, PATHS, db="out.db", key=wide)
pipeloom.map(of_mapping, [{"a": 1}], db="out.db")
pipeloom.map(with_default, PATHS, db="out.db")
pipeloom.map(with_keywords, PATHS, db="out.db")
pipeloom.map(variadic, PATHS, db="out.db")
pipeloom.map(cached, PATHS, db="out.db")
pipeloom.map(functools.partial(with_default, limit=2), PATHS, db="out.db")
pipeloom.map(Simple, PATHS, db="out.db")
pipeloom.map(Path, ["a"], db="out.db")
pipeloom.map(int, ["1"], db="out.db")
pipeloom.map(float, [1, 2], db="out.db")
pipeloom.map(str, [1, "a"], db="out.db")
pipeloom.map(len, ["a"], db="out.db")
pipeloom.map(abs, range(3), db="out.db")
pipeloom.map(max, [[1, 2], [3]], db="out.db")
pipeloom.map(print, PATHS, db="out.db")
pipeloom.map(str.upper, ["a"], db="out.db")
pipeloom.map({"a": 1}.get, ["a"], db="out.db")
pipeloom.map(lambda number: number + 1, range(3), db="out.db", key=lambda number: number * 2)
pipeloom.map(lambda path: print(path.name), PATHS, db="out.db")
pipeloom.map(lambda pair: pair[0].upper() + str(pair[1] + 1), {"a": 1}.items(), db="out.db")


# --- map: functions that take the context too ---


def with_ctx(path: Path, ctx: TaskContext) -> int:
    return len(path.name) + ctx.attempt


def by_annotation(path: Path, context: TaskContext) -> int:
    return len(path.name) + context.attempt


def by_keyword(path: Path, *, ctx: TaskContext) -> int:
    return len(path.name) + ctx.attempt


def after_a_default(path: Path, limit: int = 3, *, ctx: TaskContext) -> int:
    return limit + len(path.name) + ctx.attempt


def if_there_is_one(path: Path, ctx: TaskContext | None = None) -> int:
    return len(path.name) + (ctx.attempt if ctx is not None else 0)


def scaled(scale: float, path: Path, ctx: TaskContext) -> float:
    return scale * len(path.name) * ctx.attempt


def of_anything(item: Any, ctx: Any) -> None:
    ctx.write("items", {"item": item})


class Loader:
    def method(self, path: Path) -> int:
        return len(path.name)

    def method_with_ctx(self, path: Path, ctx: TaskContext) -> int:
        return len(path.name) + ctx.attempt

    @staticmethod
    def static(path: Path, ctx: TaskContext) -> int:
        return len(path.name) + ctx.attempt

    @classmethod
    def made_of(cls, path: Path) -> Loader:
        return cls() if path.name else Loader()

    def __call__(self, path: Path, ctx: TaskContext) -> int:
        return len(path.name) + ctx.attempt


pipeloom.map(with_ctx, PATHS, db="out.db")
pipeloom.map(with_ctx, paths(), db="out.db", key=lambda path: path.name)
pipeloom.map(by_annotation, PATHS, db="out.db")
pipeloom.map(by_keyword, PATHS, db="out.db")
pipeloom.map(after_a_default, PATHS, db="out.db")
pipeloom.map(if_there_is_one, PATHS, db="out.db")
pipeloom.map(of_anything, PATHS, db="out.db")
pipeloom.map(functools.partial(scaled, 2.0), PATHS, db="out.db")
pipeloom.map(Loader().method, PATHS, db="out.db")
pipeloom.map(Loader().method_with_ctx, PATHS, db="out.db")
pipeloom.map(Loader.static, PATHS, db="out.db")
pipeloom.map(Loader.made_of, PATHS, db="out.db")
pipeloom.map(Loader(), PATHS, db="out.db")
pipeloom.map(lambda path, ctx: ctx.write("files", {"name": path.name}), PATHS, db="out.db")


# --- run_pipeline: workers whose second argument is a queue, or a context ---


class HasPut(Protocol):
    def put(self, item: Msg) -> None: ...


class Task:
    task_id = 1


def of_messages(task: int, messages: queue.Queue[Msg]) -> None:
    messages.put(MsgTaskStarted(task, "name", "2026-01-31T12:00:00+00:00"))


def of_own_messages(task: int, messages: queue.Queue[Msg | Reading]) -> None:
    messages.put(Reading(float(task)))


def of_any_queue(task: int, messages: queue.Queue[Any]) -> int:
    messages.put(task)
    return task


def of_what_puts(task: int, messages: HasPut) -> None:
    messages.put(MsgTaskStarted(task, "name", "2026-01-31T12:00:00+00:00"))


def of_context(task: int, ctx: TaskContext, scale: float = 1) -> None:
    ctx.progress(task * scale)


def of_task(task: Task, messages: queue.Queue[Msg]) -> None:
    messages.put(MsgTaskStarted(task.task_id, "name", "2026-01-31T12:00:00+00:00"))


pipeloom.run_pipeline([1], "out.db", worker_fn=of_messages)
pipeloom.run_pipeline([1], worker_fn=of_own_messages, key=str)
pipeloom.run_pipeline([1], worker_fn=of_any_queue, key=lambda task: task + 1)
pipeloom.run_pipeline([1], worker_fn=of_what_puts)
pipeloom.run_pipeline(range(3), worker_fn=of_context)
pipeloom.run_pipeline(range(3), worker_fn=functools.partial(of_context, scale=2))
pipeloom.run_pipeline([Task()], worker_fn=of_task, key=lambda task: task.task_id)
pipeloom.run_pipeline([1], worker_fn=lambda task, messages: messages.put(task))
pipeloom.run_pipeline([1], worker_fn=lambda task, ctx: ctx.progress(task + 1, 10))
