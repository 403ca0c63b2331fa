"""``pipeloom.map`` as a user meets it."""

from __future__ import annotations

import pytest

import pipeloom


def square(number, ctx):
    ctx.write("squares", {"n": number, "square": number * number})
    return {"n": number}


def test_rows_and_done_marks_come_together(db, read):
    """Every input is done, its rows are in, its result is JSON."""
    report = pipeloom.map(square, range(50), db=db)

    assert (report.done, report.failed, report.total, report.status) == (50, 0, 50, "done")
    assert read(db, "SELECT COUNT(*), SUM(square) FROM squares") == [(50, sum(n * n for n in range(50)))]
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 50)]
    assert sorted(report.results()) == [(n, {"n": n}) for n in range(50)]


def test_second_call_does_only_the_rest(db, read):
    """Done keys are skipped, failed ones run again, no row comes twice."""
    broken = {3, 4}

    def task(number, ctx):
        ctx.write("rows", {"n": number})
        if number in broken:
            raise ValueError(f"no {number}")

    with pytest.raises(pipeloom.TasksFailedError) as failed:
        pipeloom.map(task, range(6), db=db)
    assert sorted(map(str, failed.value.exceptions)) == ["no 3", "no 4"]
    broken.clear()
    report = pipeloom.map(task, range(8), db=db)

    assert (report.done, report.skipped) == (4, 4)
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(8)]
