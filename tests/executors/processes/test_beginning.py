"""Worker processes that never get ready for a task: the run ends, and says why."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest

import pipeloom


@pytest.fixture
def refused(db):
    """A function: run with such workers, and return what the call raised."""

    def refused(**options):
        with pytest.raises(pipeloom.PipeloomError) as caught:
            pipeloom.map(
                len, ["a", "bc"], db=db, name="begin", executor="processes", workers=1, progress=False, **options
            )
        return caught.value

    return refused


def test_less_memory_than_a_worker_takes_is_named(refused, read, db):
    error = refused(memory_mb=2, local=signal.pause)

    assert isinstance(error, pipeloom.WorkerDiedError)
    assert str(error).startswith("before it was ready for a task, its worker process took ")
    assert str(error).endswith(" MiB, more than memory_mb=2: pass a larger one")
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'") == [(0,)]


def test_workers_that_die_at_once_are_not_started_for_ever(refused):
    error = refused(local=partial(os._exit, 3))

    assert str(error) == "3 worker processes in a row died before they were ready: the last one exited with 3"


def test_what_local_raises_is_told(refused):
    error = refused(local=partial(int, "x"))

    assert isinstance(error, pipeloom.RemoteError)
    assert error.kind == "ValueError"
    assert "invalid literal for int()" in str(error)
