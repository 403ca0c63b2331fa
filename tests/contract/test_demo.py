"""``pipeloom.demo``: the worker that ``pipeloom demo`` runs."""

from __future__ import annotations

import dataclasses
import queue
from datetime import datetime, timedelta

import pytest

from pipeloom import demo
from pipeloom.demo import DemoTask, demo_worker
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that the demo's worker wanted to make; none is made."""
    slept = []
    monkeypatch.setattr("pipeloom.demo.time.sleep", slept.append)
    return slept


def said_by(task):
    """Return what the worker puts on a queue."""
    source = queue.Queue()
    demo_worker(task, source)
    return [source.get_nowait() for _ in range(source.qsize())]


def test_a_demo_task_is_frozen_and_has_twenty_steps():
    """A number, a name, steps."""
    task = DemoTask(1, "a")

    assert [field.name for field in dataclasses.fields(DemoTask)] == ["task_id", "name", "steps"]
    assert (task.task_id, task.name, task.steps) == (1, "a", 20)
    assert DemoTask(task_id=1, name="a", steps=20) == task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.steps = 5


def test_the_demo_worker_says_started_every_step_and_finished(pauses):
    """With a pause per step, and times in UTC."""
    started, *steps, finished = said_by(DemoTask(4, "four", steps=3))

    assert isinstance(started, MsgTaskStarted)
    assert (started.task_id, started.name) == (4, "four")
    assert steps == [MsgTaskProgress(4, n, 3, f"step {n}/3") for n in (1, 2, 3)]
    assert finished == MsgTaskFinished(4, "done", finished.finished_at, "ok:four", "completed")
    assert len(pauses) == 3
    for stamp in (started.started_at, finished.finished_at):
        assert datetime.fromisoformat(stamp).utcoffset() == timedelta(0)


def test_the_pauses_are_random(pauses, monkeypatch):
    """They come from ``random.random``, so that whoever replaces it decides."""
    monkeypatch.setattr("pipeloom.demo.random.random", lambda: 0.0)
    said_by(DemoTask(1, "a", steps=2))
    monkeypatch.setattr("pipeloom.demo.random.random", lambda: 0.5)
    said_by(DemoTask(1, "a", steps=2))

    assert all(0 <= pause <= 1 for pause in pauses)
    assert pauses[0] == pauses[1] < pauses[2] == pauses[3]


def test_a_demo_worker_that_fails_says_so(monkeypatch):
    """Status error and the exception's text; nothing is raised."""

    def fall_over(_):
        raise RuntimeError("no power")

    monkeypatch.setattr("pipeloom.demo.time.sleep", fall_over)
    said = said_by(DemoTask(1, "a"))

    assert isinstance(said[0], MsgTaskStarted)
    assert (said[-1].status, said[-1].message, said[-1].result) == ("error", "no power", None)
    assert len(said) == 2


def test_it_has_its_promised_names():
    """What people import from it."""
    assert {"DemoTask", "demo_worker"} <= set(demo.__all__)
