"""What callers pass wrongly is refused before anything is opened, read or called."""

from __future__ import annotations

import functools

import pytest

import pipeloom
from pipeloom import TaskContext


def nothing(_item):
    return None


def say_nothing(_task, _messages):
    return None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"fn": 3}, TypeError, "must be a function"),
        ({"items": "abc"}, TypeError, r"one str.*\[items\]"),
        ({"items": 5}, TypeError, "iterable"),
        ({"db": 5}, TypeError, "out.db"),
        ({"db": ""}, ValueError, "empty"),
        ({"workers": 0}, ValueError, "at least 1"),
        ({"workers": 2.5}, TypeError, "int"),
        ({"on_error": "ignore"}, ValueError, "collect"),
        ({"durability": "maybe"}, ValueError, "normal"),
        ({"key": "name"}, TypeError, "function"),
        ({"name": ""}, ValueError, "name"),
        ({"tables": {"t": {"a": complex}}}, ValueError, "t.a.*no column type"),
        ({"tables": {"task_runs": {"a": int}}}, ValueError, "ledger"),
        ({"tables": {"": {"a": int}}}, ValueError, "table name"),
        ({"handlers": {"x": print}}, TypeError, "no type"),
        ({"handlers": {pipeloom.MsgTaskStarted: print}}, ValueError, "of your own"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_refused_before_anything_happens(db, change, error, words):
    """One sentence that says what to pass; no file is made."""
    arguments = {"fn": nothing, "items": [1], "db": db, **change}
    with pytest.raises(error, match=words):
        pipeloom.map(arguments.pop("fn"), arguments.pop("items"), **arguments)

    assert not db.exists()


def test_an_async_function_is_refused(db):
    """It says what to do instead."""

    async def task(_):
        return None

    with pytest.raises(TypeError, match="to_thread"):
        pipeloom.map(task, [1], db=db)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"worker_fn": 3}, TypeError, "worker_fn must be a function"),
        ({"worker_fn": nothing}, TypeError, "does not take"),
        ({"tasks": "abc"}, TypeError, r"tasks is one str.*\[tasks\]"),
        ({"resume": "yes"}, TypeError, "True or False"),
        ({"resume": True}, ValueError, "resume=True needs key="),
        ({"resume": True, "key": str, "store_task_status": False}, ValueError, "needs the ledger"),
        ({"name": "n"}, ValueError, "name= needs key="),
        ({"name": ""}, ValueError, "printable"),
        ({"workers": 0}, ValueError, "at least 1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_of_run_pipeline_are_refused_too(db, change, error, words):
    """By the same sentences, with its own names for function and inputs."""
    arguments = {"tasks": [1], "db_path": db, "worker_fn": say_nothing, **change}
    with pytest.raises(error, match=words):
        pipeloom.run_pipeline(**arguments)

    assert not db.exists()


def of_ctx(item, ctx):
    return (item, type(ctx))


def by_annotation(item, anything: TaskContext):
    return (item, type(anything))


def by_keyword(item, limit=3, *, ctx):
    return (item, type(ctx))


def if_there_is_one(item, ctx: TaskContext | None = None):
    return (item, type(ctx))


class Called:
    def __call__(self, item, ctx):
        return (item, type(ctx))

    def method(self, item, ctx):
        return (item, type(ctx))


@pytest.mark.parametrize(
    "fn",
    [
        of_ctx,
        by_annotation,
        by_keyword,
        if_there_is_one,
        functools.partial(of_ctx),
        Called(),
        Called().method,
        lambda item, ctx: (item, type(ctx)),
    ],
    ids=lambda fn: getattr(fn, "__qualname__", type(fn).__name__),
)
def test_the_functions_that_type_checkers_take_with_a_context_get_one(db, fn):
    """In each of the ways in which a function can ask for it: see tests/typing/calls.py."""
    seen = []

    def note(*args, **named):
        seen.append(fn(*args, **named))

    note.__wrapped__ = fn  # so that it looks like the function itself
    pipeloom.map(note, [1], db=db, progress=False)

    assert seen == [(1, TaskContext)]


@pytest.mark.parametrize("fn", [str, abs, {1: "a"}.get, functools.partial(max, 0), lambda item, limit=2: item])
def test_the_functions_that_take_one_input_get_only_that(db, fn):
    """Classes, builtins without a signature, and functions with defaults."""
    report = pipeloom.map(fn, [1], db=db, progress=False)

    assert [result for _, result in report.results()] == [fn(1)]
