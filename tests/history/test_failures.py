"""All failures of a file, or of one run, in groups."""

from __future__ import annotations

from pathlib import Path

import pipeloom

AT_SECOND = "2026-01-31T12:00:0{}.000+00:00"


def test_one_kind_is_one_group(ran, opened):
    """From a real run: counts, the largest first, an example with its traceback."""
    with opened() as history:
        first, second = history.error_groups()

    assert (first.exception, first.count, first.status) == ("ValueError", 3, "error")
    assert first.message == "could not convert string to float: …"
    assert first.where.startswith(__file__.replace("test_failures", "conftest"))
    assert first.where.endswith("in work")
    assert (first.example.id, first.example.name, first.run_ids) == (7, "n1", (1,))
    assert first.traceback.endswith("ValueError: could not convert string to float: 'n1'\n")
    assert (second.exception, second.message, second.count) == ("FileNotFoundError", "no such file: …", 1)


def test_what_failed_in_a_run_stays_said_when_a_later_one_has_done_it(ran, opened):
    """Without a run, only what is failed now."""
    pipeloom.map(lambda path: 1, [Path("in/n1"), Path("in/m1")], db=ran, name="work", progress=False)
    with opened() as history:
        assert [group.count for group in history.error_groups()] == [2]
        then = history.error_groups(run_id=1)
        assert sorted(group.count for group in then) == [1, 3]
        assert {group.example.status for group in then} == {"error"}
        assert all(group.traceback for group in then)
        assert sorted(task.id for task in history.failures(9, run_id=1)) == [7, 8, 9, 10]
        assert history.error_groups(run_id=2) == history.failures(9, run_id=2) == []
        assert history.error_groups(run_id=1 << 70) == []


def test_a_try_that_its_own_run_repeated_is_no_failure_of_it(written, opened):
    """Retries: only how the run left the task counts."""
    written(
        task_runs=[{"id": n, "name": "t", "status": "done", "run_id": 1 if n == 1 else 2} for n in (1, 2)],
        pipeloom_attempts=[
            {"task_id": 1, "run_id": 1, "attempt": 1, "status": "error", "message": "a"},
            {"task_id": 2, "run_id": 1, "attempt": 1, "status": "error", "message": "b"},
            {"task_id": 2, "run_id": 1, "attempt": 2, "status": "error", "message": "c"},
        ],
    )
    with opened() as history:
        assert [(group.message, group.count) for group in history.error_groups(run_id=1)] == [("c", 1)]


def test_times_and_runs_are_gathered(written, opened):
    """First, last, and which runs."""
    written(
        task_runs=[
            {"id": n, "name": "t", "status": "timed_out", "message": f"{n} s", "run_id": n}
            | {"finished_at": AT_SECOND.format(9 - n)}
            for n in range(1, 4)
        ]
    )
    with opened() as history:
        (group,) = history.error_groups()

    assert (group.first_at, group.last_at, group.run_ids) == (AT_SECOND.format(6), AT_SECOND.format(8), (3, 2, 1))
    assert (group.exception, group.status, group.message) == (None, "timed_out", "… s")
