"""A run without a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeloom.show import plain
from pipeloom.show.failures import TIMES
from pipeloom.show.figures import Figures
from pipeloom.show.plain import LineScreen

from .watched import kind, watched


@pytest.fixture
def clock(monkeypatch):
    """Return the time that plain lines go by: a list of one number."""
    now = [100.0]
    monkeypatch.setattr(plain, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def out():
    """Return what was said."""
    return io.StringIO()


@pytest.fixture
def screen(clock, out):
    """Return plain lines of a run called load with a hundred inputs."""
    return LineScreen(Figures("load", 100), Console(file=out, width=80))


def test_a_short_run_says_nothing(screen, out):
    """Its report, or its exception, says all."""
    screen.start(watched({"done": 99, "error": 1}, kinds=[kind(1, "ValueError", "bad", "a")]))
    screen.tick()
    screen.stop()

    assert out.getvalue() == ""


def test_a_new_kind_is_told_once_and_all_of_them_at_the_end(screen, out, clock):
    """With an example when it is new, and with its number and its last task at the end."""
    run = watched({"done": 8, "error": 1}, kinds=[kind(1, "ValueError", "bad …", "a.csv")], end="error")
    screen.start(run)
    for _ in range(8):
        clock[0] += 0.5
        screen.tick()
    run.counts["error"] = 92
    run.kinds = [kind(91, "ValueError", "bad …", "a.csv", "z.csv"), kind(1, "KeyError", "…", "b.csv")]
    screen.stop()
    screen.stop()

    lines = out.getvalue().splitlines()
    assert lines[0] == "load: ✗ first failure of its kind: a.csv: ValueError at load.py:14 in parse: bad …"
    assert lines[1].startswith("load: 100/100 · finished with failures · 8 done · 92 failed · took ")
    assert lines[2:] == [
        f"  ✗ 91 {TIMES} ValueError at load.py:14 in parse: bad …; last z.csv",
        f"  ✗ 1 {TIMES} KeyError at load.py:14 in parse: …; last b.csv",
    ]


def test_a_thousand_kinds_do_not_fill_the_log(screen, out, clock):
    """Ten are told as they come, ten at the end, and how many there are."""
    run = watched({"error": 99}, kinds=[kind(1, f"E{number}", "bad", "a") for number in range(1000)])
    screen.start(run)
    clock[0] += 1.5
    screen.tick()
    screen.stop()

    lines = out.getvalue().splitlines()
    assert len(lines) == 10 + 1 + 11
    assert lines[9].endswith("(further kinds are listed at the end)")
    assert lines[-1] == "  … and 990 more kinds of failure"
