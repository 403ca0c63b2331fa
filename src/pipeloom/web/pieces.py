"""Building blocks of a page: tables, badges, times, bars and links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pipeloom.data.clock import instant, unix_time
from pipeloom.data.differing import shortened
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.data.totals import WORDS
from pipeloom.show.fragments import when
from pipeloom.show.html import Html, block, join, tag
from pipeloom.statuses import DONE, INTERRUPTED, TASK_STATUSES

if TYPE_CHECKING:
    from pipeloom.history import TaskRow

__all__ = [
    "FAILURES",
    "LONGEST_RESULT",
    "ONE_LINE",
    "Missing",
    "age",
    "badge",
    "bar",
    "beginning",
    "clock",
    "empty",
    "headed",
    "in_a_line",
    "in_two_lines",
    "kind_of",
    "long_text",
    "names_of",
    "not_there",
    "notice",
    "pages",
    "rect",
    "said_by",
    "small_bar",
    "table",
    "tasks_link",
    "word_for",
]

ONE_LINE: Final = 36
"""Characters of a name that take one line of its column on a wide page."""

FAILURES: Final = "failures"
"""In addresses: all statuses of tasks that are not done."""

_WORDS: Final = {**WORDS, FAILURES: "all failures"}
_WIDE: Final = 2 * ONE_LINE  # characters of a name that take two lines of its column on a wide page
_NARROW: Final = 40  # of one on a narrow page
_LONGEST_BLOCK: Final = 100_000
LONGEST_RESULT: Final = 100_000
"""The most characters of a result to show."""


class Missing(Exception):  # noqa: N818 - not a fault of the program: the page does not exist
    """The address refers to something that is not in the ledger."""


def notice(problem: str) -> Html:
    """Return why the page is out of date or empty; empty if there is no problem."""
    if not problem:
        return Html("")
    return tag(
        "div",
        tag("p", tag("strong", "The file cannot be read at the moment.")),
        tag("p", problem, "."),
        tag("p", "This page keeps trying. Anything below is from the last successful read.", class_="note"),
        class_="notice",
    )


def not_there(text: str) -> Html:
    """Return a message that the page's subject is gone: the file may have been replaced."""
    return tag("div", tag("p", tag("strong", text)), class_="notice")


def empty(text: str) -> Html:
    """Return a line that says that there is nothing."""
    return tag("p", text, class_="note")


def headed(title: str, inside: Html, *, id_: str, more: Html | None = None) -> Html:
    """Return a section with a heading and a link beside it."""
    head = tag("div", tag("h2", title, id=id_), tag("span", more, class_="more") if more else None, class_="head")
    return tag("section", head, inside, aria_labelledby=id_)


def table(label: str, columns: Sequence[tuple[str, str]], rows: Iterable[Html]) -> Html:
    """Return a table; a column is (title, classes)."""
    head = (tag("th", title, scope="col", class_=kind or None) for title, kind in columns)
    inside = tag(
        "table",
        tag("caption", label, class_="hidden-text"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *rows),
    )
    return tag("div", inside, class_="table")  # a table that is still too wide scrolls in its own box


def long_text(text: str, label: str) -> Html:
    """Return untrusted text with its line breaks, such as a traceback; long text loses its middle.

    The box scrolls by itself, and can be reached with the keyboard.
    """
    return block(text, _LONGEST_BLOCK, tabindex=0, role="group", aria_label=label)


def beginning(text: str, label: str) -> Html:
    """Return the beginning of untrusted text, when no more was read; see :func:`long_text`."""
    if len(text) > LONGEST_RESULT:
        text = f"{text[:LONGEST_RESULT]}\n… the rest is not shown: pipeloom show --json prints all of it …"
    return block(text, tabindex=0, role="group", aria_label=label)


def pages(links: Sequence[Html]) -> Html | None:
    """Return the links to a list's other pages."""
    return tag("nav", *links, class_="pages", aria_label="More pages") if links else None


# --- statuses ---


def word_for(status: str) -> str:
    """Return a status in words."""
    return _WORDS.get(status, clean(status, 40))


def kind_of(status: str) -> str:
    """Return the class of a status; an unknown one looks like a stopped one."""
    return status if status in TASK_STATUSES else INTERRUPTED


def badge(status: str) -> Html:
    """Return a status in words, with its sign and colour."""
    return tag("span", word_for(status), class_=f"badge s-{kind_of(status)}")


def in_a_line(message: str | None, limit: int) -> str:
    """Return a message without its line breaks; empty if there is none."""
    return clean(" ".join((message or "")[: 4 * limit].splitlines()), limit)


def said_by(exception: str | None, message: str | None, limit: int = 200) -> Html | None:
    """Return a message together with its exception; ``None`` if there is neither."""
    name, said = clean(exception or "", 120), in_a_line(message, limit)
    if not name:
        return join(said) if said else None
    return join(tag("b", name), f": {said}" if said and said != name else None)


def in_two_lines(said: Html | None) -> Html | None:
    """Return a message cut to two lines; the task's page shows all of it."""
    return None if said is None else tag("span", said, class_="two-lines")


# --- times ---


def clock(at: str | None, *, exactly: bool = False) -> Html:
    """Return the UTC time of day of an instant; with milliseconds if ``exactly``."""
    found = instant(at)
    if found is None:
        return when(at)
    return tag("time", found.strftime("%H:%M:%S.%f")[: 12 if exactly else 8], datetime=clean(at, 40))


def age(elapsed_s: float | None, started_at: str | None, *, running: bool) -> Html:
    """Return the time taken; that of something running is in an element that the page's script updates."""
    since = unix_time(started_at) if running else None
    text = "" if elapsed_s is None else duration(elapsed_s)
    return tag("span", text, data_since=None if since is None else f"{since:.1f}")


# --- bars ---


def rect(kind: str, left: float, width: float) -> Html:
    """Return a piece of a bar; positions are percentages."""
    return tag(
        "rect", class_=f"f-{kind}", data_key=kind, x=f"{left:.2f}%", y="0", width=f"{width:.2f}%", height="100%"
    )


def bar(rects: Iterable[Html], share: float, label: str, kind: str = "bar") -> Html:
    """Return a bar filled up to ``share``, 0..1."""
    return tag(
        "svg",
        *rects,
        class_=kind,
        role="progressbar",
        aria_valuemin=0,
        aria_valuemax=100,
        aria_valuenow=int(share * 100),
        aria_label=label,
    )


def small_bar(task: TaskRow) -> Html:
    """Return a task's progress, as a bar and in words."""
    inside = bar([rect(DONE, 0, task.progress * 100)], task.progress, "progress", "bar small-bar")
    return join(inside, tag("span", f"{int(task.progress * 100)} %"))


# --- links ---


def names_of(tasks: Sequence[TaskRow]) -> dict[int, Html]:
    """Return task id → name, in two lines at most and linked to its page, for tasks shown together.

    Names are shortened to the parts that differ: once for a wide page, once for a narrow one. The styles show one.
    """
    names = [clean(task.name, 500) or f"task {task.id}" for task in tasks]
    found = {}
    for task, name, wide, narrow in zip(
        tasks, names, shortened(names, _WIDE), shortened(names, _NARROW), strict=True
    ):
        shown = wide if wide == narrow else (tag("span", wide, class_="roomy"), tag("span", narrow, class_="tight"))
        title = None if name == wide == narrow else name
        found[task.id] = tag("a", shown, href=f"/tasks/{task.id}", title=title)
    return found


def tasks_link(text: Any, *, current: bool = False, **query: Any) -> Html:
    """Return a link to the list of tasks."""
    told = urlencode({key: value for key, value in query.items() if value is not None})
    return tag("a", text, href=f"/tasks?{told}" if told else "/tasks", aria_current="page" if current else None)
