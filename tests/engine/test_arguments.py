"""What callers pass wrongly is refused before anything is opened, read or called."""

from __future__ import annotations

import pytest

import pipeloom


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
        ({"db": "file:x.db?mode=ro"}, ValueError, "not a URL"),
        ({"db": "sqlite:///x.db"}, ValueError, "not a URL"),
        ({"workers": 0}, ValueError, "at least 1"),
        ({"workers": 2.5}, TypeError, "int"),
        ({"on_error": "ignore"}, ValueError, "collect"),
        ({"durability": "maybe"}, ValueError, "normal"),
        ({"alter": "yes"}, TypeError, "alter must be"),
        ({"alter": None}, TypeError, "alter must be"),
        ({"wal": "yes"}, TypeError, "wal must be"),
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
