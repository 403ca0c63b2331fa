"""The bars that ``SQLiteWriter`` drives."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted, make_task_progress, preregister_task_bars

AT = "2026-01-31T12:00:00+00:00"
LIFE = (
    MsgTaskStarted(1, "load", AT),
    MsgTaskProgress(1, 3, 4, "three quarters"),
    MsgTaskFinished(1, "done", AT, "r", "m"),
)


class Bars(Progress):
    """Real bars on a console of their own, that remember how each of them ended."""

    def __init__(self):
        super().__init__(console=Console(file=io.StringIO(), width=100), auto_refresh=False)
        self.removed = {}

    def remove_task(self, task_id):
        task = self._tasks[task_id]
        self.removed[task_id] = (task.completed, task.total, task.finished)
        super().remove_task(task_id)


@pytest.fixture
def bars():
    """No bars yet."""
    return Bars()


def test_progress_moves_the_bar(serve, bars):
    """Of the task it belongs to; bar number 0 is a bar like any other."""
    first, second = bars.add_task("one", total=None), bars.add_task("two", total=None)
    assert first == 0
    with serve(task_progress=bars, task_bar_map={1: first, 2: second}) as (_, source):
        source.put(LIFE[0])
        source.put(LIFE[1])
        source.put(MsgTaskStarted(2, "other", AT))
        source.join()
        assert [(task.id, task.completed) for task in bars.tasks] == [(0, 3), (1, 0)]
        assert bars.tasks[0].total == 4


def test_a_finished_bar_is_complete_and_gone(store, bars):
    """Whether or not it ever knew its total."""
    known, unknown = bars.add_task("one", total=None), bars.add_task("two", total=None)
    store(
        *LIFE,
        MsgTaskStarted(2, "other", AT),
        MsgTaskFinished(2, "done", AT),
        task_progress=bars,
        task_bar_map={1: known, 2: unknown},
    )

    assert bars.tasks == []
    assert bars.removed[known] == (4, 4, True)
    assert bars.removed[unknown][2]


@pytest.mark.parametrize("status", ["error", "cancelled"])
def test_the_bar_of_a_failed_task_is_gone_too(store, bars, status):
    """It does not stay on the screen for ever."""
    bar = bars.add_task("one", total=4)
    store(LIFE[0], LIFE[1], MsgTaskFinished(1, status, AT), task_progress=bars, task_bar_map={1: bar})

    assert bars.tasks == []


def test_a_task_without_a_bar_is_no_error(db, read, store, bars, caplog):
    """Nor is a map without entries, or no map at all."""
    bar = bars.add_task("one", total=4)
    store(*LIFE, MsgTaskFinished(7, "done", AT), task_progress=bars, task_bar_map={99: bar})
    store(*LIFE, task_progress=bars)
    store(*LIFE, task_bar_map={1: bar})

    assert [task.id for task in bars.tasks] == [bar]
    assert caplog.records == []
    assert read(db, "SELECT id, status FROM task_runs ORDER BY id") == [(1, "done"), (7, "done")]


def test_bars_work_without_task_status_and_without_a_file(store, bars):
    """They need no table."""
    for options in ({"store_task_status": False}, {"path": Path(":memory:")}):
        bar = bars.add_task("one", total=None)
        store(*LIFE, task_progress=bars, task_bar_map={1: bar}, **options)
        assert bars.removed[bar] == (4, 4, True)


def test_preregistered_bars_of_the_package_are_driven(store):
    """The described way to use it, start to end."""
    progress = make_task_progress()
    bars = preregister_task_bars(progress, 2)
    store(*LIFE, task_progress=progress, task_bar_map=bars)

    assert [task.description for task in progress.tasks] == ["Task 2"]
