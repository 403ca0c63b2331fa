"""What the viewer chose, and what a key changes about it."""

from __future__ import annotations

from rich.text import Text

from pipeloom.cli.watching.navigation import PAGES, Choice, Frame, Navigation, press

CHOICES = [Choice("task", number) for number in (5, 6, 7, 8)]


FRAME = Frame([Text()], CHOICES, page=2, scroll_end=10)


def pressed(navigation, *keys, frame=FRAME):
    """Return what is chosen after some keys."""
    for key in keys:
        navigation = press(navigation, key, frame)
    return navigation


def test_arrows_select_and_stop_at_the_ends():
    """From nothing to the first or the last line, one by one, by pages, to the ends."""
    assert pressed(Navigation(), "down").selected == CHOICES[0]
    assert pressed(Navigation(), "up").selected == CHOICES[3]
    assert pressed(Navigation(), "j", "j", "down", "down", "down").selected == CHOICES[3]
    assert pressed(Navigation(), "down", "up", "k").selected == CHOICES[0]
    assert pressed(Navigation(), "down", "pagedown").selected == CHOICES[2]
    assert pressed(Navigation(), "end", "pageup").selected == CHOICES[1]
    assert pressed(Navigation(), "end", "home").selected == CHOICES[0]
    assert pressed(Navigation(), "down", frame=Frame([])).selected is None


def test_a_selection_follows_its_task_and_survives_it():
    """Lines move while one looks at them; when the selected one goes, its neighbour takes its place."""
    navigation = pressed(Navigation(), "down", "down")
    assert navigation.place([CHOICES[2], CHOICES[1]]) == 1
    assert navigation.place([CHOICES[0], CHOICES[2], CHOICES[3]]) == 1
    assert navigation.place([CHOICES[0]]) == 0
    assert navigation.place([]) is None
    gone = Frame([], [CHOICES[0], CHOICES[2], CHOICES[3]])
    assert pressed(navigation, "down", frame=gone).selected == CHOICES[3]
    assert pressed(navigation, "enter", frame=gone).opened == CHOICES[2]


def test_enter_opens_and_escape_goes_back():
    """q goes back, too, and quits only from a page."""
    navigation = pressed(Navigation(), "down", "down", "enter")
    assert navigation.opened == CHOICES[1]
    assert pressed(navigation, "escape").opened is None
    assert pressed(navigation, "escape").selected == CHOICES[1]
    assert not pressed(navigation, "q").over
    assert pressed(navigation, "q", "q").over
    assert pressed(Navigation(), "enter").opened == CHOICES[0]
    assert pressed(Navigation(), "enter", frame=Frame([])).opened is None
    assert pressed(Navigation(), "down", "escape").selected is None


def test_an_opened_text_scrolls_within_its_ends():
    """By lines, pages, and to its ends, also when it has become shorter."""
    navigation = pressed(Navigation(), "enter", "down", "down")
    assert navigation.scroll == 2
    assert pressed(navigation, "up", "up", "up").scroll == 0
    assert pressed(navigation, "pagedown", " ").scroll == 6
    assert pressed(navigation, "end", "down").scroll == 10
    assert pressed(navigation, "end", "pageup", "home").scroll == 0
    shorter = Frame([], scroll_end=1)
    assert pressed(navigation, "up", frame=shorter).scroll == 0


def test_pages_turn_in_a_ring():
    """Forwards, backwards, by number; a page begins with nothing selected."""
    assert [pressed(Navigation(), *["tab"] * n).page for n in range(5)] == [*PAGES, PAGES[0]]
    assert pressed(Navigation(), "left").page == PAGES[-1]
    assert pressed(Navigation(), "right", "backtab").page == PAGES[0]
    assert pressed(Navigation(), "down", "3") == Navigation(page=PAGES[2])
    assert pressed(Navigation(), "9", "²") == Navigation()


def test_help_goes_with_any_key():
    """Which does nothing else."""
    assert pressed(Navigation(), "?").helping
    assert pressed(Navigation(), "?", "q") == Navigation()
