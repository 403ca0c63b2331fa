"""The log records of tasks."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

import pipeloom
from pipeloom import Retry, TasksFailedError

log = logging.getLogger("mine.loader")


@pytest.fixture(autouse=True)
def root_level():
    """The root logger lets all pass."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(before)


@contextmanager
def without_handlers():
    """Take pytest's own handlers away, which raise where others complain."""
    root = logging.getLogger()
    before, root.handlers[:] = root.handlers[:], []
    try:
        yield root.handlers
    finally:
        root.handlers[:] = before


def test_records_are_stored_with_their_task(db, read):
    """Level, logger, text and traceback; DEBUG is too much."""

    def fn(item):
        log.debug("not this")
        log.info("item %s", item)
        try:
            raise ValueError("inner")
        except ValueError:
            log.exception("it happened")

    pipeloom.map(fn, ["a"], db=db, name="n")

    assert read(
        db,
        "SELECT t.key, l.run_id, l.attempt, l.level, l.logger, l.message, l.error LIKE '%ValueError: inner%', "
        "l.at LIKE '20%+00:00' FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id ORDER BY l.id",
    ) == [
        ("a", 1, 1, "INFO", "mine.loader", "item a", None, 1),
        ("a", 1, 1, "ERROR", "mine.loader", "it happened", 1, 1),
    ]


def test_tasks_do_not_mix(db, read):
    """Each has its own, in order, whatever runs beside it."""

    def fn(item):
        for n in range(20):
            log.info("%d %d", item, n)

    pipeloom.map(fn, range(50), db=db, name="n", workers=8)

    for key, text in read(
        db,
        "SELECT t.key, group_concat(l.message) FROM (SELECT * FROM pipeloom_logs ORDER BY id) l "
        "JOIN task_runs t ON t.id = l.task_id GROUP BY t.key",
    ):
        assert text == ",".join(f"{key} {n}" for n in range(20))


def test_they_are_seen_while_the_task_runs(db):
    """At the writer's next look."""

    def fn(item, ctx):
        log.info("hello")
        while not (found := ctx.query("SELECT message FROM pipeloom_logs")):
            pass
        return found

    assert dict(pipeloom.map(fn, ["a"], db=db, name="n").results()) == {"a": [["hello"]]}


def test_a_thread_with_a_copied_context_counts(db, read):
    """One without does not."""

    def fn(item):
        context = contextvars.copy_context()
        for target in (lambda: context.run(log.info, "counts"), lambda: log.info("does not")):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    pipeloom.map(fn, ["a"], db=db, name="n")

    assert read(db, "SELECT message FROM pipeloom_logs") == [("counts",)]


def test_every_try_has_its_own(db, read):
    """A failed task's records stay, unlike its rows."""

    def fn(item, ctx):
        log.info("try %d", ctx.attempt)
        raise OSError

    with pytest.raises(TasksFailedError):
        pipeloom.map(fn, ["a"], db=db, name="n", retries=Retry(3, 0.0))

    assert read(db, "SELECT attempt, message FROM pipeloom_logs ORDER BY id") == [
        (1, "try 1"),
        (2, "try 2"),
        (3, "try 3"),
    ]


@pytest.mark.parametrize("numbered", [True, False])
def test_tasks_known_by_number_have_them_too(db, read, numbered):
    """Under the number that the task has in the end."""

    class Task:
        task_id = 7

    def worker(task, msg_q):
        log.info("one")
        msg_q.query("SELECT 1")
        log.info("two")

    pipeloom.run_pipeline([Task() if numbered else "x"], db, worker_fn=worker)

    number = 7 if numbered else 1
    assert read(db, "SELECT task_id, message FROM pipeloom_logs ORDER BY id") == [(number, "one"), (number, "two")]


def test_a_flood_is_bounded_and_says_so(db, read):
    """The first ones are kept; lines stand for the others, and say how many."""

    def fn(item):
        for n in range(30_000):
            log.info("%d", n)

    pipeloom.map(fn, ["a"], db=db, name="n")

    kept = [text for (text,) in read(db, "SELECT message FROM pipeloom_logs ORDER BY id")]
    gaps = [text for text in kept if "were dropped here" in text]
    assert 1000 <= len(kept) - len(gaps) <= 10_000
    assert len(kept) - len(gaps) + sum(int(text.split()[0].replace(",", "")) for text in gaps) == 30_000


def test_a_record_that_cannot_be_formatted_harms_nobody(db, read, capfd):
    """Nor does one with control characters or lone surrogates."""

    class Hostile:
        def __str__(self):
            raise RuntimeError("no")

    def fn(item):
        log.info("%s", Hostile())
        log.info("%d", "text")
        log.info("\ud800 \x1b[2J")

    with without_handlers():
        assert pipeloom.map(fn, ["a"], db=db, name="n").done == 1
    (first, second) = read(db, "SELECT message FROM pipeloom_logs ORDER BY id")
    assert "2 log records were dropped" in first[0]
    assert second == ("\\ud800 \x1b[2J",)


def test_the_handler_leaves_with_the_run(db):
    """Nothing is left behind on the root logger."""

    def fn(item):
        assert len(logging.getLogger().handlers) == 1

    with without_handlers() as handlers:
        pipeloom.map(fn, ["a"], db=db, name="n")
        assert handlers == []


def test_warnings_still_reach_stderr(tmp_path):
    """Without any logging set up, as Python does it: our handler must not silence them."""
    program = (
        "import logging, pipeloom\n"
        "pipeloom.map(lambda item: logging.warning('careful'), [1], db='x.db', name='n', progress=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "careful" in done.stderr


def test_without_a_ledger_nothing_is_kept(db, read):
    """There is no table for it."""
    assert pipeloom.run_pipeline([1], db, worker_fn=lambda *_: log.info("x"), store_task_status=False).done == 1
    assert read(db, "SELECT COUNT(*) FROM sqlite_master") == [(0,)]
