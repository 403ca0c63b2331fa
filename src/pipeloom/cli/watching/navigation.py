"""What the user chose to see, and how keys change it; plain values, no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["PAGES", "Choice", "Frame", "Navigation", "press"]

PAGES: Final = ("running", "failures", "kinds", "runs")


class Choice(NamedTuple):
    """Something that can be selected and opened: a ``task`` or a ``run``, with its id."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One screen.

    Attributes:
        lines: From the top; none is wider than the screen.
        choices: What can be selected, in screen order.
        page: Number of lines in the scrolling part.
        scroll_end: How far an opened text can be scrolled.
    """

    lines: Sequence[Text]
    choices: Sequence[Choice] = ()
    page: int = 1
    scroll_end: int = 0


@dataclass(frozen=True, slots=True)
class Navigation:
    """What the user chose.

    Attributes:
        page: One of :data:`PAGES`.
        selected: The selected item.
        at: Its position when selected; if it disappears, the item now at this position is selected.
        opened: What is shown in full instead of the page.
        scroll: First visible line of the opened text.
        helping: Whether the list of keys is shown.
        over: Whether to quit.
    """

    page: str = PAGES[0]
    selected: Choice | None = None
    at: int = 0
    opened: Choice | None = None
    scroll: int = 0
    helping: bool = field(default=False)
    over: bool = False

    def place(self, choices: Sequence[Choice]) -> int | None:
        """Return the index of the selected item; ``None`` when nothing is selected."""
        if self.selected is None or not choices:
            return None
        if self.selected in choices:
            return choices.index(self.selected)
        return min(self.at, len(choices) - 1)


_MOVES: Final = {"up": -1, "k": -1, "down": 1, "j": 1}


def press(navigation: Navigation, key: str, frame: Frame) -> Navigation:
    """Return the navigation after a key; ``frame`` is what the user saw when pressing it."""
    if navigation.helping:
        return replace(navigation, helping=False)
    if key in ("?", "h"):
        return replace(navigation, helping=True)
    if navigation.opened is not None:
        return _press_in_text(navigation, key, frame)
    if key in ("q", "Q"):
        return replace(navigation, over=True)
    if key == "escape":
        return replace(navigation, selected=None, at=0)
    if key in ("tab", "right", "l"):
        return _turned(navigation, 1)
    if key in ("backtab", "left"):
        return _turned(navigation, -1)
    if key.isdecimal() and key.isascii() and 1 <= int(key) <= len(PAGES):
        return Navigation(page=PAGES[int(key) - 1])
    if key == "enter":
        place = navigation.place(frame.choices)
        if frame.choices:
            chosen = frame.choices[place or 0]
            return replace(navigation, opened=chosen, selected=chosen, at=place or 0, scroll=0)
        return navigation
    return _moved(navigation, key, frame)


def _turned(navigation: Navigation, by: int) -> Navigation:
    return Navigation(page=PAGES[(PAGES.index(navigation.page) + by) % len(PAGES)])


def _moved(navigation: Navigation, key: str, frame: Frame) -> Navigation:
    choices = frame.choices
    last = len(choices) - 1
    if last < 0:
        return navigation
    place = navigation.place(choices)
    if key in _MOVES:
        # Nothing is selected yet: start at the top or bottom, depending on the direction.
        target = (0 if _MOVES[key] > 0 else last) if place is None else place + _MOVES[key]
    elif key in ("pageup", "pagedown"):
        target = (place or 0) + (frame.page if key == "pagedown" else -frame.page)
    elif key in ("home", "g"):
        target = 0
    elif key in ("end", "G"):
        target = last
    else:
        return navigation
    target = min(max(target, 0), last)
    return replace(navigation, selected=choices[target], at=target)


def _press_in_text(navigation: Navigation, key: str, frame: Frame) -> Navigation:
    if key in ("escape", "q", "Q", "left", "enter"):
        return replace(navigation, opened=None, scroll=0)
    at = min(navigation.scroll, frame.scroll_end)
    if key in _MOVES:
        at += _MOVES[key]
    elif key in ("pagedown", " "):
        at += frame.page
    elif key == "pageup":
        at -= frame.page
    elif key in ("home", "g"):
        at = 0
    elif key in ("end", "G"):
        at = frame.scroll_end
    return replace(navigation, scroll=min(max(at, 0), frame.scroll_end))
