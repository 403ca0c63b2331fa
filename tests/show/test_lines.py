r"""Pages of writers: what becomes a line, and when."""

from __future__ import annotations

import pytest

from pipeloom.show.lines import Lines

ONE, TWO = (1, 0), (2, 0)
UP = "\x1b[A"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
CLEAR = "\r\x1b[2K"


@pytest.fixture
def lines():
    """Pages without text."""
    return Lines()


def test_half_lines_of_two_threads_do_not_meet(lines):
    """Each is written when it has its end; a line without one at the end of all."""
    fed = [lines.feed(*said) for said in [(ONE, "on"), (TWO, "two\nand"), (ONE, "e"), (ONE, "\n"), (TWO, " so on")]]

    assert fed == ["", "two\n", "", "one\n", ""]
    assert lines.close() == "and so on\n"
    assert lines.close() == ""


def test_an_empty_line_waits_until_it_is_known_that_no_bar_follows(lines):
    """A bar further down begins by moving there with line feeds."""
    assert [lines.feed(ONE, text) for text in ("\n", "after\n", "\n")] == ["", "\nafter\n", ""]
    assert [lines.look(), lines.look()] == ["", "\n"]


def test_a_bar_is_one_line_in_its_last_state(lines):
    """It repaints itself from the start of its row; a print of the same thread is a line of its own."""
    fed = [lines.feed(ONE, text) for text in ("\rbar  10%", "\rbar  50%", "said\n", "\rbar 100%", "\n")]

    assert fed == ["", "", "said\n", "", ""]
    assert lines.unfinished() == ["bar 100%"]
    assert [lines.look(), lines.look(), lines.close()] == ["", "bar 100%\n", ""]


def test_a_bar_below_another_ends_at_the_top(lines):
    """As tqdm paints them: down, the bar, up again; in its last state it is painted at the top, and stays there."""
    for text in ("\n\n", "\rlower  10%", UP + UP, "\n\n", "\rlower  90%", UP + UP):
        assert lines.feed(ONE, text) == ""
    assert lines.unfinished() == ["lower  90%"]
    for text in ("\rlower 100%", "\n"):
        assert lines.feed(ONE, text) == ""
    assert lines.unfinished() == ["lower 100%"]
    assert lines.feed(ONE, "afterwards\n") == "afterwards\n"
    assert lines.close() == "lower 100%\n"


def test_nested_bars_of_one_thread(lines):
    """The inner ones end one after the other above the outer one, which goes on."""
    for inner in ("a", "b"):
        for text in ("\router", "\n", f"\r{inner}  50%", UP, f"\r{inner} 100%", "\n"):
            assert lines.feed(ONE, text) == ""
    lines.feed(ONE, "\router 100%")

    assert lines.close() == "a 100%\nb 100%\nouter 100%\n"


def test_text_after_a_carriage_return_replaces_the_row(lines):
    """As in ``print("10 %", end="\\r")``; a bar that is wiped out leaves nothing."""
    for text in ("10 %", "\r", "20 %", "\r", "done"):
        assert lines.feed(ONE, text) == ""
    lines.feed(TWO, "\rbar")
    lines.feed(TWO, "\r   \r")

    assert lines.close() == "done\n"
    assert lines.feed(ONE, "of Windows\r\n") == "of Windows\r\n"


def test_a_display_that_hides_the_cursor_is_painted_by_several_threads(lines):
    """As Rich paints one on a console of its own. What others say meanwhile are lines; its last state stays."""
    fed = [
        lines.feed(ONE, HIDE),
        lines.feed(ONE, "one  10%\ntwo  10%"),
        lines.feed(TWO, f"{CLEAR}{UP}\x1b[2Kone  50%\ntwo  50%"),
        lines.feed((3, 0), "said meanwhile\n"),
        lines.feed(ONE, f"{CLEAR}{UP}\x1b[2Kone 100%\ntwo 100%\n{SHOW}"),
        lines.feed(ONE, "afterwards\n"),
    ]

    assert fed == ["", "", "", "said meanwhile\n", "one 100%\ntwo 100%\n", "afterwards\n"]


def test_pages_are_bounded(lines):
    """A line that never ends, and a page that grows for ever, are written as they are."""
    assert len(lines.feed(ONE, "x" * 100_000)) == 100_001
    assert sum(lines.feed(TWO, f"\r{n}\n").count("\n") for n in range(200)) == 100
