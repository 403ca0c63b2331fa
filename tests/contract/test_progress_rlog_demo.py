"""``pipeloom.progress``, ``pipeloom.rlog``, ``pipeloom.demo``."""

from __future__ import annotations

import dataclasses
import logging
import queue
from datetime import datetime, timedelta

import pytest
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import Progress

from pipeloom import demo, rlog
from pipeloom.demo import DemoTask, demo_worker
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted
from pipeloom.progress import make_overall_progress, make_task_progress, preregister_task_bars

# --- bars ---


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


# --- logging ---


def test_there_is_one_console_and_one_logger():
    """Shared by everything that speaks."""
    assert isinstance(rlog.console, Console)
    assert isinstance(rlog.logger, logging.Logger)
    assert rlog.logger is logging.getLogger("pipeloom")


@pytest.mark.parametrize(
    ("verbose", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG), (7, logging.DEBUG)]
)
def test_verbose_chooses_the_level(verbose, level):
    """0 warning, 1 info, 2 and more debug; one RichHandler on the shared console, however often it is called."""
    for _ in range(2):
        rlog.setup_logging(verbose)
    (handler,) = rlog.logger.handlers

    assert rlog.logger.getEffectiveLevel() == level
    assert isinstance(handler, RichHandler)
    assert handler.console is rlog.console


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_is_logged_is_shown_from_that_level_on(verbose, capsys):
    """On the console, and of this package's modules too."""
    rlog.setup_logging(verbose)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("pipeloom.writer").log(level, "said at %s", logging.getLevelName(level).lower())
    shown = capsys.readouterr().err

    assert ("said at warning" in shown, "said at info" in shown, "said at debug" in shown) == (
        True,
        verbose >= 1,
        verbose >= 2,
    )


def test_a_log_file_gets_the_records_as_plain_text(tmp_path):
    """Beside the console; markup and escape sequences of Rich's are not in it."""
    path = tmp_path / "run.log"
    rlog.setup_logging(verbose=1, log_file=path)
    rlog.logger.info("half [/way] there")
    rlog.logger.debug("not this")
    kinds = [type(handler) for handler in rlog.logger.handlers]
    for handler in rlog.logger.handlers:
        handler.flush()
    text = path.read_text()

    assert len(kinds) == 2
    assert logging.FileHandler in kinds
    assert "half [/way] there" in text
    assert "INFO" in text
    assert "\x1b" not in text
    assert "not this" not in text


# --- the demo's worker ---


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


def test_the_demo_has_its_promised_names():
    """What people import from it."""
    assert {"DemoTask", "demo_worker"} <= set(demo.__all__)
    assert {"console", "logger", "setup_logging"} <= set(rlog.__all__)
