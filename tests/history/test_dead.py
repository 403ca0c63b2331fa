"""Runs whose process is gone, and what that makes of their tasks."""

from __future__ import annotations

import pytest

from pipeloom.history.dead import DeadRuns
from pipeloom.statuses import DONE, INTERRUPTED, OPEN, PROCESS_ENDED, RUNNING

from .conftest import AT

NOW = "2026-01-31T12:00:05.000+00:00"


@pytest.fixture
def ask(written, opened):
    """Evaluate an expression about one task of run 3, or of none."""

    def asking(expression, *, status=RUNNING, run_id=3, message=None):
        written(
            task_runs=[
                {"id": 1, "name": "t", "status": status, "run_id": run_id, "message": message, "started_at": AT}
            ]
        )
        with opened() as history:
            ((value,),) = history._reader.rows(f"SELECT {expression} FROM task_runs t", {"now": NOW})
        return value

    return asking


@pytest.mark.parametrize(
    ("runs", "run_id", "is_theirs"), [((3, 4), 3, True), ((4,), 3, False), ((3,), None, False), ((), 3, False)]
)
@pytest.mark.parametrize("status", OPEN)
def test_what_a_dead_run_left_open_is_interrupted(ask, runs, run_id, is_theirs, status):
    """Nobody else's, and no task that belongs to no run; what is dead has no time until now."""
    dead = DeadRuns(runs)
    found = ask(
        f"json_array({dead.status}, {dead.not_theirs}, round({dead.elapsed}, 1), {dead.message('t.message')})",
        status=status,
        run_id=run_id,
        message="half",
    )
    expected = (
        f'["{INTERRUPTED}",0,null,"{PROCESS_ENDED}; it said last: half"]'
        if is_theirs
        else f'["{status}",1,{"5.0" if status == RUNNING else "null"},"half"]'
    )

    assert found == expected


def test_what_a_dead_run_finished_stays_as_it_is(ask):
    """Its done tasks are done."""
    dead = DeadRuns([3])

    assert ask(f"json_array({dead.status}, {dead.message('t.message')})", status=DONE) == f'["{DONE}",null]'


def test_what_is_no_number_gets_into_no_statement():
    """A file may hold anything in place of a run's number."""
    with pytest.raises(ValueError, match="invalid literal"):
        DeadRuns(["1) OR (1"])
