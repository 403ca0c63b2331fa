"""Elements with progress and cancellation, step by step or by the handful."""

from __future__ import annotations

import csv
import itertools

import pipeloom
from pipeloom.worker import track as module

ROWS = 10_000


def progress_of(read, db):
    ((progress, status),) = read(db, "SELECT progress, status FROM task_runs")
    return progress, status


def load(db, source, **options):
    def task(_item, ctx):
        ctx.write("t", ctx.track(source(ctx), total=ROWS), columns=["n", "s"])

    return pipeloom.map(task, ["x"], db=db, on_error="collect", progress=False, **options)


def test_all_rows_come_and_the_last_is_a_whole(db, read):
    load(db, lambda _: csv.reader(f"{n},x" for n in range(ROWS)))

    assert progress_of(read, db) == (1.0, "done")
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n), MIN(rowid) FROM t") == [(ROWS, ROWS, 1)]


def test_the_row_that_fails_is_counted_to(db, read):
    """However many are asked for at once."""

    def source(_ctx):
        yield from ([str(n), "x"] for n in range(7531))
        raise ValueError("at 7531")

    load(db, source)

    assert progress_of(read, db) == (0.7531, "error")
    assert read(db, "SELECT name FROM sqlite_schema WHERE name = 't'") == []


def test_what_comes_slowly_is_looked_after_one_by_one(db, monkeypatch):
    """A source that stalls is asked for little, so that a task ends when it should: the clock says so here."""
    clock, asked = itertools.count(), []
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))  # each handful takes a second

    def source(ctx):
        for n in range(50):
            asked.append(ctx._task.progress[0])
            yield [str(n), "x"]

    load(db, source)

    assert asked == list(range(50))


def test_a_task_that_should_end_is_told_between_two_handfuls(db):
    """Whoever cancels waits for milliseconds, not for the end of the source."""
    seen = []

    def source(ctx):
        for n in itertools.count():
            seen.append(n)
            if n == 5000:
                ctx._link.cancelling = True
            yield [str(n), "x"]

    def task(_item, ctx):
        ctx._link = type("Cancelling", (), {"brief": ctx._link.brief, "cancelling": False})()
        ctx.write("t", ctx.track(source(ctx)), columns=["n", "s"])

    report = pipeloom.map(task, ["x"], db=db, on_error="collect", progress=False)

    assert report.cancelled == 1
    assert 5000 < seen[-1] < 15_000


def test_whoever_has_begun_step_by_step_goes_on_so(db, read):
    def task(_item, ctx):
        rows = ctx.track([str(n), "x"] for n in range(ROWS))
        assert next(rows) == ["0", "x"]
        assert next(iter(rows)) == ["1", "x"]
        ctx.write("t", rows, columns=["n", "s"])

    pipeloom.map(task, ["x"], db=db, progress=False)

    assert read(db, "SELECT COUNT(*) FROM t") == [(ROWS - 2,)]


def test_what_cannot_be_gone_through_is_said_at_the_call(db):
    def task(_item, ctx):
        ctx.track(5)

    report = pipeloom.map(task, ["x"], db=db, progress=False, on_error="collect")

    assert report.failures[0].message == "'int' object is not iterable"
