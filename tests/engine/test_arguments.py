"""What callers pass wrongly is refused before anything is opened, read or called."""

from __future__ import annotations

import functools
import io
import sqlite3
from contextlib import closing

import pandas as pd
import pytest

import pipeloom
from pipeloom.engine.arguments import length_of


def nothing(_item):
    return None


def say_nothing(_task, _messages):
    return None


def rows(item, end=1):
    yield item


async def later(_item):
    return None


async def stream(_item):
    yield 1


class Rows:
    def __call__(self, item):
        yield item

    method = rows


class Later:
    async def __call__(self, item):
        return None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"fn": 3}, TypeError, "must be a function, not int$"),
        ({"fn": None}, TypeError, "not NoneType: pass the function itself, without calling it"),
        ({"fn": rows(1)}, TypeError, "not generator: pass the function itself, without calling it"),
        ({"fn": rows}, TypeError, "not a generator function.*return a list"),
        ({"fn": functools.partial(rows, end=3)}, TypeError, "not a generator function"),
        ({"fn": functools.cache(rows)}, TypeError, "not a generator function"),
        ({"fn": Rows().method}, TypeError, "not a generator function"),
        ({"fn": Rows()}, TypeError, "not a generator function"),
        ({"fn": functools.partial(Rows())}, TypeError, "not a generator function"),
        ({"fn": staticmethod(rows)}, TypeError, "not a generator function"),
        ({"fn": lambda item: (yield item)}, TypeError, "not a generator function"),
        ({"fn": stream}, TypeError, "not an async generator function"),
        ({"items": rows}, TypeError, "not function: call it and pass its return value"),
        ({"items": later}, TypeError, "not function: call it"),
        ({"items": stream(1)}, TypeError, r"\[item async for item in items\]"),
        ({"items": pd.DataFrame({"a": [1]})}, TypeError, "iterates over its columns"),
        ({"items": bytearray(b"abc")}, TypeError, "a single bytearray"),
        ({"items": io.BytesIO(b"a")}, TypeError, "open it as text, or pass key="),
        ({"items": "abc"}, TypeError, r"a single str.*\[items\]"),
        ({"items": 5}, TypeError, "iterable"),
        ({"db": 5}, TypeError, "out.db"),
        ({"db": ""}, ValueError, "empty"),
        ({"db": "file:x.db?mode=ro"}, ValueError, "not a URL"),
        ({"db": "sqlite:///x.db"}, ValueError, "not a URL"),
        ({"workers": 0}, ValueError, "at least 1"),
        ({"workers": 10**30}, ValueError, "at most 10,000"),
        ({"workers": 2.5}, TypeError, "int"),
        ({"on_error": "ignore"}, ValueError, "collect"),
        ({"durability": "maybe"}, ValueError, "normal"),
        ({"alter": "yes"}, TypeError, "alter must be"),
        ({"alter": None}, TypeError, "alter must be"),
        ({"wal": "yes"}, TypeError, "wal must be"),
        ({"key": "name"}, TypeError, "function"),
        ({"name": ""}, ValueError, "name"),
        ({"tables": {"t": {"a": complex}}}, ValueError, "t.a.*not a column type"),
        ({"tables": {"task_runs": {"a": int}}}, ValueError, "ledger"),
        ({"tables": {"": {"a": int}}}, ValueError, "table name"),
        ({"handlers": {"x": print}}, TypeError, "not a type"),
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


def test_a_coroutine_is_refused_and_closed(db):
    """In the place of the function and of the inputs; nothing is left that was never awaited."""
    with pytest.raises(TypeError, match="not coroutine: pass the function itself, without calling it"):
        pipeloom.map(later(1), [1], db=db)
    with pytest.raises(TypeError, match="not coroutine: await it first"):
        pipeloom.map(nothing, later(1), db=db)


def test_what_may_look_wrong_and_is_right(db, tmp_path):
    """A decorator around a generator function; a class; a set; a dict, which is its keys; a file."""

    @functools.wraps(rows)
    def listed(item):
        return list(rows(item))

    (tmp_path / "a").write_bytes(b"x\ny\n")
    with open(tmp_path / "a", "rb") as file:
        kinds = (
            (listed, {3}, None),
            (str, iter([1]), None),
            (repr, {"k": 1}, None),
            (bytes.decode, file, bytes.decode),
        )
        for fn, items, key in kinds:
            assert pipeloom.map(fn, items, db=db, key=key, name=fn.__name__, progress=False).failed == 0


def test_a_collection_longer_than_python_counts_has_no_known_length():
    """It is read like an endless one."""
    assert length_of(range(10**26)) is None
    assert length_of(range(3)) == 3


def test_a_cursor_is_refused_unless_it_works_in_every_thread(db):
    """Inputs are read in a thread of their own."""
    with (
        closing(sqlite3.connect(":memory:")) as here,
        closing(sqlite3.connect(":memory:", check_same_thread=False)) as everywhere,
    ):
        with pytest.raises(TypeError, match=r"cursor.*items.fetchall\(\)"):
            pipeloom.map(nothing, here.execute("SELECT 1"), db=db)
        assert not db.exists()
        assert pipeloom.map(nothing, everywhere.execute("SELECT 1"), db=db, progress=False).done == 1


@pytest.mark.parametrize("returned", [later, rows, stream], ids=lambda fn: fn.__name__)
@pytest.mark.filterwarnings("error")
def test_code_that_a_function_returned_unrun_is_that_tasks_error(db, returned):
    """What no signature tells: by map and by run_pipeline, which keeps no results."""
    report = pipeloom.map(lambda n: returned(n), [1], db=db, on_error="collect", progress=False)
    assert "has not run" in report.failures[0].message
    with pytest.raises(pipeloom.TasksFailedError, match="has not run"):
        pipeloom.run_pipeline([1], db, worker_fn=lambda n, _: returned(n), progress=False)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"worker_fn": 3}, TypeError, "worker_fn must be a function"),
        ({"worker_fn": nothing}, TypeError, "a task and its queue"),
        ({"tasks": "abc"}, TypeError, r"tasks is a single str.*\[tasks\]"),
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
