"""The section of a run in the live region, as lines of a given size."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeloom.show.console import SharedConsole
from pipeloom.show.failures import TIMES
from pipeloom.show.figures import Figures
from pipeloom.show.live import LiveScreen
from pipeloom.show.tasks import bar

from .watched import attempt, kind, watched

NAMES = [f"/home/ann/data/2013/01/part-{part:04}.csv" for part in range(60)]


class FixedRegion:
    """A region of one size, that shows nothing."""

    def __init__(self, columns, rows):
        self.size = (columns, rows)

    def join(self, section, *, waits):
        """Do nothing."""

    def leave(self, section, last):
        """Do nothing."""


@pytest.fixture
def lines_of():
    """Return the lines of a run's section on a terminal of a size, as text."""

    def lines(run, columns, rows, *, title="load", expected=1000, over=False, **options):
        console = Console(file=io.StringIO(), force_terminal=True, width=columns, **options)
        console.region = FixedRegion(columns, rows)
        figures = Figures(title, expected)
        screen = LiveScreen(figures, console)
        for slot in run.slots:
            slot.t0 = figures.began
        screen.start(run)
        if over:
            screen.stop()
        return "".join(segment.text for segment in screen.frame).splitlines()

    return lines


def test_all_running_rows_that_fit_are_shown(lines_of):
    """As many as the terminal has rows; with failures, two thirds of them at least."""
    run = watched({"done": 5}, slots=[attempt(name) for name in NAMES])

    lines = lines_of(run, 80, 40)
    assert len(lines) == 40
    assert sum("▸" in line for line in lines) == 37
    assert lines[-1] == "  … and 23 more running"
    run.kinds = [kind(9, "ValueError", f"no {number}", "a") for number in range(50)]
    lines = lines_of(run, 80, 40)
    assert len(lines) == 40
    assert sum("▸" in line for line in lines) == 25
    assert sum("✗" in line for line in lines) == 11
    assert lines[-1] == "  … and 39 more kinds of failure"


def test_names_by_their_differing_part(lines_of):
    """Names of one folder can be told apart at 40 columns, and are whole where there is room."""
    run = watched(slots=[attempt(name, progress=(1, 2, "half of it")) for name in NAMES[:3]])

    assert [line[:21].rstrip() for line in lines_of(run, 40, 10)[2:]] == [
        "  ▸ …/part-0000.csv",
        "  ▸ …/part-0001.csv",
        "  ▸ …/part-0002.csv",
    ]
    assert all(name in line for name, line in zip(NAMES, lines_of(run, 120, 10)[2:], strict=False))
    assert "half of it" in lines_of(run, 120, 10)[2]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 10, 24])
@pytest.mark.parametrize("over", [False, True])
def test_every_size_is_good_for_something(lines_of, columns, rows, over):
    """No line is too long, none says nothing, and how far it is is always there."""
    run = watched(
        {"done": 500, "error": 12},
        slots=[attempt("資料/" * 40 + name, progress=(1, 3, "a message " * 9)) for name in NAMES],
        kinds=[kind(7, "ValueError", "message " * 30, *NAMES), kind(5, None, "", *NAMES, place=None)],
        end="error",
    )

    lines = lines_of(run, columns, rows, title="a pipeline with a very long name " * 3, over=over)

    assert "512/1,000" in lines[0]
    assert lines[0].endswith("51 %")
    assert over or len(lines) <= rows
    assert all(line.strip(" …▸✗·") for line in lines)
    assert all(Console().render_str(line).cell_len <= columns for line in lines)


def test_a_single_row_still_shows_a_failure_when_there_is_one(lines_of):
    """The last state stays, with the kinds of failure below it."""
    run = watched({"done": 1, "error": 2}, kinds=[kind(2, "ValueError", "bad", "a", "b")], end="error")

    lines = lines_of(run, 80, 24, over=True, expected=3)

    assert lines[1].startswith("  finished with failures · 1 done · 2 failed · took ")
    assert lines[2:] == [f"  ✗ 2 {TIMES} ValueError  load.py:14 in parse", "     bad  last b"]


def test_a_bar_can_be_read_without_colours():
    """What is filled and what is not are different characters, in ASCII too."""
    assert bar(0.25, 8).plain == "━━──────"
    console = SharedConsole()
    console.file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert console.encode(console.render(bar(0.25, 8))).startswith(b"==------")


def test_a_task_keeps_its_row_while_it_runs():
    """The longest-running of those that had no room takes the row of one that is over."""
    run = watched(slots=[attempt(f"part {number}") for number in range(9)])
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    console.region = FixedRegion(80, 6)
    screen = LiveScreen(Figures("load", 1000), console)

    def rows():
        screen._made_at = 0.0
        screen.tick()
        text = "".join(segment.text for segment in screen.frame)
        return [line[4:10] for line in text.splitlines() if "▸" in line]

    for age, slot in enumerate(run.slots):
        slot.t0 = -float(age)  # the last one has run for longest
    screen.start(run)
    assert rows() == ["part 8", "part 7", "part 6"]
    run.slots[7] = attempt("part 9")
    run.slots[7].t0 = 0.0
    assert rows() == ["part 8", "part 5", "part 6"]
    del run.slots[:6]
    run.slots[1] = None
    assert rows() == ["part 8", "part 6"]
    assert not any("more running" in segment.text for segment in screen.frame)
