"""One screenful, at several sizes, as text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeloom.cli.watching.drawing import draw
from pipeloom.cli.watching.navigation import PAGES, Choice, Navigation
from pipeloom.cli.watching.scene import Scene

SIZES = [(80, 24), (40, 10), (200, 50), (20, 5), (3, 2), (1, 1)]
NOW = 1002.0


def text(scene, navigation, width, height, **options):
    """Return what would stand on the screen; nothing may be too wide, too high, or harmful."""
    frame = draw(scene, navigation, width, height, NOW, **options)
    assert len(frame.lines) <= height
    for line in frame.lines:
        assert line.cell_len <= width, line.plain
        assert line.plain.isprintable(), line.plain
    return [line.plain.rstrip() for line in frame.lines]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_fits_every_size(scene, opened, page, width, height):
    """Whatever is shown, selected or opened, in trouble or not; hostile text is harmless."""
    navigations = [
        Navigation(page=page),
        Navigation(page=page, selected=Choice("task", 95), at=4),
        Navigation(page=page, opened=Choice("task", 99), scroll=3),
        Navigation(page=page, opened=Choice("task", 7)),
        Navigation(page=page, opened=Choice("run", 11)),
        Navigation(page=page, opened=Choice("run", 77)),
        Navigation(page=page, helping=True),
    ]
    for navigation in navigations:
        for seen in (
            replace(scene, opened=opened),
            replace(scene, trouble="cannot read the file: " + "very " * 40 + "locked", note="replaced"),
            Scene("x" * 300, trouble="the file /a.db does not exist yet: check the path; waiting for it…"),
            Scene("名" * 100, counts={"done": 7, "odd \x1b": 1}),
        ):
            text(seen, navigation, width, height)
            text(seen, navigation, width, height, has_keys=False)


def test_the_usual_screen(scene):
    """80 by 24: what runs, how far, the counts, running tasks that fit, failures by kind, the keys."""
    lines = text(scene, Navigation(), 80, 24)

    assert lines[0].startswith("load  run 12  running")
    assert lines[0].endswith("out.db")
    assert lines[1].endswith("4,000/10,000  40 %")
    assert lines[2] == "3,990 done · 10 failed · 3 waiting for a retry · 100/s · 1:02 · 1:00 left"
    assert "Running 40" in lines[3]
    assert "Failures 10" in lines[3]
    assert lines[4].startswith("  ▸ item 1")
    assert "50 %  5.0 s" in lines[4]
    assert r"\x1b[2J [/red]" in lines[5]
    more = next(n for n, line in enumerate(lines) if "more running" in line)
    assert lines[more] == f"  … and {40 - (more - 4)} more running"
    assert lines[more + 1] == "Failures by kind"
    assert lines[more + 2] == "  ✗ 10 \N{MULTIPLICATION SIGN} ValueError  load.py:7"
    assert lines[more + 3].startswith("      bad \\x1b[2J [/red]")
    assert lines[-1].startswith("q quit")
    assert len(lines) == 24


def test_a_small_screen_keeps_what_matters(scene):
    """40 by 10: title, bar, counts, a running task, a failure."""
    lines = text(scene, Navigation(), 40, 10)

    assert lines[0].startswith("load  run 12  running")
    assert lines[1].endswith("40 %")
    assert "3,990 done · 10 failed" in lines[2]
    assert any(line.startswith("  ▸ item 1") for line in lines)
    assert any(line.startswith("  ✗ 10 \N{MULTIPLICATION SIGN} ValueError") for line in lines)


def test_a_large_screen_shows_all_that_fits(scene):
    """200 by 50: most running tasks, and a kind of failure in one row."""
    lines = text(scene, Navigation(), 200, 50)

    assert sum("▸" in line for line in lines) >= 30
    assert any("ValueError  load.py:7  bad" in line and "last bad 0" in line for line in lines)


def test_kinds_that_do_not_fit_are_counted(scene):
    """On the first page; a selected kind opens its first task."""
    (group,) = scene.errors
    many = tuple(replace(group, kind=f"{n:08x}", example=replace(group.example, id=500 + n)) for n in range(30))
    seen = replace(scene, errors=many)
    lines = text(seen, Navigation(), 80, 24)
    shown = sum(line.startswith("  ✗ 10") for line in lines)

    assert f"  … and {30 - shown} more kinds of failure: see the Kinds page" in lines
    assert Choice("task", 500) in draw(seen, Navigation(), 80, 24, NOW).choices


def test_an_ended_run_says_so_with_totals(scene, run):
    """And that the next one is waited for; its clock has stopped."""
    ended = replace(scene, run=run(status="error", done=9_990, elapsed_s=61.0), counts={}, running=())
    lines = text(ended, Navigation(), 80, 24)

    assert lines[0].startswith("load  run 12  error")
    assert "10,000/10,000 100 %" in lines[1]
    assert lines[2:4] == [
        "finished with failures · 9,990 done · 10 failed · took 1:01 · 164/s on average",
        "waiting for the next run",
    ]
    gone = replace(ended, run=run(status="interrupted", is_unclosed=True))
    assert any("its process is gone" in line for line in text(gone, Navigation(), 80, 24))


def test_trouble_is_said_plainly_and_the_clock_stands(scene):
    """What was read before stays, and is called so."""
    lines = text(replace(scene, trouble="cannot read the file: locked"), Navigation(), 80, 24)

    assert any(line.startswith("! cannot read the file: locked; retrying") for line in lines)
    assert any("Showing what was last read." in line for line in lines)
    assert any(" 1:00 ·" in line for line in lines)
    assert "3.0 s" in next(line for line in lines if "▸ item 1" in line)


def test_a_file_that_is_waited_for_may_be_a_typing_error(scene):
    """Its whole path, however long, and how to stop; keys are named if there are any."""
    path = "/home/ann/" + "a-long-name/" * 8 + "nope.db"
    seen = Scene("nope.db", trouble=f"the file {path} does not exist yet: check the path; waiting for it…")
    for width in (80, 200):
        lines = text(seen, Navigation(), width, 24)

        assert path in "".join(lines).replace("\n", "")
        assert "check the path; waiting for it… Press q or Ctrl-C to stop." in " ".join(lines)
    assert "waiting for it… Press Ctrl-C to stop." in " ".join(text(seen, Navigation(), 80, 24, has_keys=False))


def test_failures_by_kind_have_a_page_of_their_own(scene):
    """Its name differs from that of the page of single failures."""
    assert any("Running 40   Failures 10   Kinds   Runs" in line for line in text(scene, Navigation(), 80, 24))
    assert "running, failures, kinds of failure, runs" in " ".join(text(scene, Navigation(helping=True), 80, 24))


def test_a_long_list_keeps_the_selected_line_in_sight(scene, task):
    """Two hundred failures on a small screen."""
    failures = tuple(task(number, "error", f"bad {number}") for number in range(200))
    seen = replace(scene, failures=failures)
    for place in (0, 7, 100, 199):
        navigation = Navigation(page="failures", selected=Choice("task", place), at=place)
        frame = draw(seen, navigation, 60, 12, NOW)
        reversed_lines = [line.plain for line in frame.lines if any(s.style == "reverse" for s in line.spans)]
        assert any(f"bad {place} " in line for line in reversed_lines), place
        assert len(frame.choices) == 200


def test_an_opened_task_can_be_read_to_its_end(scene, opened):
    """Tries, the whole traceback and the log records come by while scrolling; nothing is cut."""
    seen = replace(scene, opened=opened)
    frame = draw(seen, Navigation(opened=Choice("task", 99)), 60, 20, NOW)
    assert frame.scroll_end > 40
    passed = []
    for scroll in range(0, frame.scroll_end + 1, 5):
        passed += text(seen, Navigation(opened=Choice("task", 99), scroll=scroll), 60, 20)
    passed += text(seen, Navigation(opened=Choice("task", 99), scroll=frame.scroll_end + 100), 60, 20)
    everything = "\n".join(passed)

    assert "try 3" in everything
    assert "run 12  try 1  error" in everything
    assert "try 2 failed" in everything
    assert "line 39" in everything
    assert "WARNING" in everything
    assert everything.count("x" * 20) >= 80  # long lines go on in the next one


def test_every_selectable_line_can_be_selected(scene):
    """On the first page running tasks come first, then failures; the marked line is the chosen one."""
    frame = draw(scene, Navigation(), 80, 24, NOW)
    assert frame.choices[0] == Choice("task", 1)
    assert frame.choices[-1].number > 40
    for place, choice in enumerate(frame.choices):
        again = draw(scene, Navigation(selected=choice, at=place), 80, 24, NOW)
        marked = [line for line in again.lines if any(s.style == "reverse" and s.end > 30 for s in line.spans)]
        assert len(marked) == 1


def test_an_opened_task_says_the_type_with_the_message(scene, opened):
    """No message stands without its exception's type."""
    lines = text(replace(scene, opened=opened), Navigation(opened=Choice("task", 99)), 120, 24)

    assert any(line.startswith(r"ValueError: bad \x1b[2J") for line in lines)


def test_kinds_that_are_left_out_are_counted(scene):
    """What is below the screen, and beyond what is read."""
    groups = tuple(replace(scene.errors[0], kind=f"{number:08}", count=2) for number in range(201))
    lines = text(replace(scene, errors=groups), Navigation(page="kinds"), 120, 24)

    assert sum("✗" in line for line in lines) == 18
    assert lines[-2] == "  ↓ 182 more · the 200 largest kinds, 400 of 400 failures"
