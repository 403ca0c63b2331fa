"""``pipeloom.engine.run_pipeline``: how it is called, and with what; its workers are in ``test_engine_workers``."""

from __future__ import annotations

import inspect
import queue
import threading
import weakref
from pathlib import Path
from time import monotonic

import pytest

from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, TaskDef, run_pipeline
from pipeloom.demo import DemoTask, demo_worker

AT = "2026-01-31T12:00:00+00:00"
LATER = "2026-01-31T12:00:09+00:00"
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"


def say_all(task, msg_q):
    """Work as the described system's workers do: everything goes through the queue."""
    msg_q.put(MsgTaskStarted(task.task_id, task.name, AT))
    msg_q.put(MsgTaskProgress(task.task_id, 1, 2, "half"))
    msg_q.put(MsgTaskFinished(task.task_id, "done", LATER, f"ok:{task.name}", "completed"))


def say_nothing(task, msg_q):
    """Work without a word."""


def defs(count):
    """Return tasks 1 to count."""
    return [TaskDef(number, f"t{number}") for number in range(1, count + 1)]


# --- how it is called ---


def test_the_signature_is_the_promised_one():
    """Two positional arguments, the rest keyword-only; ours all have defaults."""
    parameters = list(inspect.signature(run_pipeline).parameters.values())
    empty = inspect.Parameter.empty

    assert [(p.name, p.default) for p in parameters[:2]] == [("tasks", empty), ("db_path", Path("./pipeloom.db"))]
    assert [p.kind for p in parameters[:2]] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert {p.name: p.default for p in parameters[2:6]} == {
        "workers": None,
        "wal": True,
        "store_task_status": True,
        "worker_fn": empty,
    }
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])
    assert all(p.default is not empty for p in parameters[6:])


def test_all_arguments_work_by_keyword(db, read):
    """As most callers write it; a report comes back."""
    report = run_pipeline(
        tasks=defs(3), db_path=db, workers=2, wal=True, store_task_status=True, worker_fn=say_all
    )  # fmt: skip

    assert (report.done, report.failed, report.total) == (3, 0, 3)
    assert read(
        db, "SELECT id, name, status, progress, message, started_at, finished_at, result FROM task_runs"
    ) == [(n, f"t{n}", "done", 1.0, "completed", AT, LATER, f"ok:t{n}") for n in (1, 2, 3)]


def test_the_default_file_is_pipeloom_db_here(tmp_path, monkeypatch, read):
    """In the current directory."""
    monkeypatch.chdir(tmp_path)
    run_pipeline(defs(2), worker_fn=say_all)

    assert read(tmp_path / "pipeloom.db", STATUSES) == [("done", 2)]


def test_worker_fn_must_be_given(db):
    """There is no default for it."""
    with pytest.raises(TypeError, match="worker_fn"):
        run_pipeline(defs(1), db)


@pytest.mark.parametrize(("wal", "mode"), [(True, "wal"), (False, "delete")])
def test_wal_chooses_the_journal(db, read, wal, mode):
    """As for the writer."""
    run_pipeline(defs(2), db, wal=wal, worker_fn=say_all)

    assert read(db, "PRAGMA journal_mode") == [(mode,)]
    assert read(db, STATUSES) == [("done", 2)]


def test_store_task_status_false_makes_no_table(db, read):
    """The workers run all the same."""
    ran = []
    report = run_pipeline(
        defs(5), db, store_task_status=False, worker_fn=lambda task, q: (ran.append(task.task_id), say_all(task, q))
    )

    assert sorted(ran) == [1, 2, 3, 4, 5]
    assert report.done == 5
    assert read(db, "SELECT name FROM sqlite_master") == []


def test_a_database_in_memory_is_accepted(tmp_path, monkeypatch):
    """All tasks run and no file is left."""
    monkeypatch.chdir(tmp_path)

    assert run_pipeline(defs(5), Path(":memory:"), worker_fn=say_all).done == 5
    assert list(tmp_path.iterdir()) == []


def test_the_demo_worker_runs_unmodified(db, read, monkeypatch):
    """The described system's own worker."""
    monkeypatch.setattr("pipeloom.demo.time.sleep", lambda _: None)
    run_pipeline([DemoTask(n, f"demo-{n}", steps=3) for n in (1, 2)], db, workers=2, worker_fn=demo_worker)

    assert read(db, "SELECT name, status, progress, message, result FROM task_runs") == [
        ("demo-1", "done", 1.0, "completed", "ok:demo-1"),
        ("demo-2", "done", 1.0, "completed", "ok:demo-2"),
    ]


def test_the_workers_queue_can_do_what_a_queue_can(db, read):
    """put in all its forms, put_nowait, qsize, empty, full."""

    def worker(number, msg_q):
        msg_q.put(MsgTaskStarted(number, "t", AT), True, 5)
        msg_q.put(item=MsgTaskProgress(number, 1, 2), block=True, timeout=None)
        msg_q.put_nowait(MsgTaskFinished(number, "done", LATER, repr(msg_q.full())))
        assert isinstance(msg_q.qsize(), int)
        assert isinstance(msg_q.empty(), bool)

    run_pipeline([1, 2], db, worker_fn=worker)

    assert read(db, "SELECT id, status, result FROM task_runs") == [(1, "done", "False"), (2, "done", "False")]


# --- tasks ---


class Dotted(dict):
    """A mapping whose keys can be read as attributes; a missing one is a KeyError."""

    __getattr__ = dict.__getitem__


class Grumpy:
    """An object that can be passed on, and nothing else."""

    __slots__ = ()

    def _no(self, *_):
        raise RuntimeError("leave me alone")

    __getattr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __str__ = __repr__ = __call__ = _no


class Misnumbered:
    """Has the attributes that the engine may read, with values of no use."""

    task_id = "seven"
    name = None


OPAQUE = {
    "objects": lambda: [object(), object(), object()],
    "None, a class, a function": lambda: [None, int, lambda: 1],
    "containers": lambda: [(), [1], {"a": {2}}],
    "text and bytes": lambda: ["", "x" * 5000, b"\xff"],
    "text that is no text": lambda: ["\ud800", "\0", "\x1b[2J"],
    "exceptions": lambda: [ValueError("x"), KeyboardInterrupt(), StopIteration()],
    "equal ones": lambda: [1, 1.0, True],
    "dotted mappings": lambda: [Dotted(a=1), Dotted(b=2), Dotted()],
    "grumpy objects": lambda: [Grumpy(), Grumpy(), Grumpy()],
    "useless attributes": lambda: [Misnumbered(), Misnumbered(), Misnumbered()],
}


@pytest.mark.parametrize("make", OPAQUE.values(), ids=OPAQUE)
def test_any_object_is_a_task(db, read, make):
    """The worker gets the very object; one row per task."""
    tasks = make()
    got = queue.SimpleQueue()
    run_pipeline(tasks, db, workers=2, worker_fn=lambda task, _: got.put(id(task)))

    assert sorted(got.get_nowait() for _ in tasks) == sorted(map(id, tasks))
    assert read(db, STATUSES) == [("done", 3)]


def test_task_id_and_name_are_read_if_they_are_there(db, read):
    """Although the worker says nothing."""
    run_pipeline([TaskDef(40, "forty"), TaskDef(7, "seven")], db, worker_fn=say_nothing)

    assert read(db, "SELECT id, name, status FROM task_runs ORDER BY id") == [
        (7, "seven", "done"),
        (40, "forty", "done"),
    ]


ITERABLES = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "iterator": iter,
    "dict": dict.fromkeys,
    "generator": lambda tasks: (t for t in tasks),
}


@pytest.mark.parametrize("make", ITERABLES.values(), ids=ITERABLES)
def test_tasks_may_be_any_iterable(db, read, make):
    """A list, a set, a generator: each is gone through once."""
    run_pipeline(make(defs(20)), db, worker_fn=say_all)

    assert read(db, STATUSES) == [("done", 20)]


@pytest.mark.parametrize("options", [{}, {"wal": False}, {"workers": 3}, {"store_task_status": False}], ids=str)
def test_an_empty_task_list_ends_at_once(db, read, options):
    """And leaves a valid database."""
    began = monotonic()
    report = run_pipeline([], db, worker_fn=say_all, **options)

    assert monotonic() - began < 5
    assert (report.done, report.total, report.status) == (0, 0, "done")
    assert read(db, "PRAGMA integrity_check") == [("ok",)]
    if options.get("store_task_status", True):
        assert read(db, STATUSES) == []


def test_tasks_are_taken_as_they_are_needed_and_let_go(db):
    """While the first ones run, few are waiting; never are many alive at once."""
    count = 20_000
    alive, most, made = weakref.WeakSet(), [], []
    started, go_on = threading.Event(), threading.Event()

    class Item:
        pass

    def items():
        for _ in range(count):
            item = Item()
            alive.add(item)
            made.append(None)
            yield item

    def worker(item, msg_q):
        if not started.is_set():
            started.set()
            assert go_on.wait(30)
        most.append(len(alive))

    run = threading.Thread(target=run_pipeline, args=(items(), db), kwargs={"worker_fn": worker, "workers": 1})
    run.start()
    try:
        assert started.wait(20)
        ahead = len(made)
    finally:
        go_on.set()
        run.join(30)

    assert len(most) == count
    assert ahead < 2_000
    assert max(most) < count / 2  # what waits for the writer is bounded; the number of tasks is not
