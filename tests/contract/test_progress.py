"""``pipeloom.progress``: bars for people who drive a writer themselves."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from pipeloom import rlog
from pipeloom.progress import make_overall_progress, make_task_progress, preregister_task_bars


@pytest.mark.parametrize("make", [make_overall_progress, make_task_progress])
def test_bars_are_richs_own_on_the_shared_console(make):
    """A Progress that is new each time."""
    progress = make()

    assert isinstance(progress, Progress)
    assert progress.console is rlog.console
    assert make() is not progress


def test_overall_bars_stay_on_the_screen_and_task_bars_are_cleared(terminal):
    """As a terminal shows it once both have ended."""
    session = terminal(
        "from pipeloom import make_overall_progress, make_task_progress\n"
        "for make, name in ((make_overall_progress, 'whole-run'), (make_task_progress, 'single-task')):\n"
        "    with make() as progress:\n"
        "        progress.update(progress.add_task(name, total=4), completed=4)\n"
    )

    assert session.code == 0
    assert "whole-run" in session.text
    assert "single-task" in session.text
    assert sum("whole-run" in line for line in session.lines) == 1
    assert not any("single-task" in line for line in session.lines)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_bars_are_preregistered_for_tasks_one_to_n(count):
    """Task id → bar; the first bar is Rich's number 0."""
    progress = make_task_progress()
    bars = preregister_task_bars(progress, count)

    assert list(bars) == list(range(1, count + 1))
    assert list(bars.values()) == progress.task_ids == list(range(count))
    assert bars == {} or preregister_task_bars(progress, num_tasks=1)[1] == count
