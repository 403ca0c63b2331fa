"""The parts of the task list that show its filters and change them.

Every link and field keeps all other filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeloom.data.clock import instant
from pipeloom.data.text import clean
from pipeloom.data.totals import in_order
from pipeloom.show.html import Html, tag
from pipeloom.statuses import FAILED
from pipeloom.web import pieces
from pipeloom.web.task_filter import WITHIN, TaskFilter

__all__ = ["active", "more", "statuses"]


def statuses(which: TaskFilter, counts: Mapping[str, int]) -> Html:
    """Return a choice of statuses, with their counts if there is no other filter."""
    is_plain = not any((which.word, which.kind, which.message, which.within, which.since, which.until))
    items: list[tuple[str | None, str, int]] = [(None, "all", sum(counts.values()))]
    items += [(status, pieces.word_for(status), counts[status]) for status in in_order(counts)]
    failures = [counts[status] for status in FAILED if counts.get(status)]
    if len(failures) > 1 or which.status == pieces.FAILURES:
        items.append((pieces.FAILURES, pieces.word_for(pieces.FAILURES), sum(failures)))
    elif which.status is not None and which.status not in counts:
        items.append((which.status, pieces.word_for(which.status), 0))
    links = []
    for status, word, count in items:
        told = (word, (" ", tag("span", f"{count:,}")) if is_plain and counts else None)
        link = pieces.tasks_link(told, current=status == which.status, **which.query(status=status))
        links.append(tag("li", link, data_key=f"s{word}"))
    return tag("nav", tag("ul", *links, class_="filters"), aria_label="Status")


def more(which: TaskFilter) -> Html:
    """Return the filters by message and time: unfolded while one of them is in use."""
    in_use = any((which.message, which.within, which.since, which.until))
    inside = tag("div", _times(which), _form(which), class_="more-filters")
    return tag("details", tag("summary", "Filter by message or time"), inside, open=in_use or None, class_="plain")


def _times(which: TaskFilter) -> Html:
    """Return a choice of periods in which tasks ended."""
    choices = [(None, "any time"), *((key, words) for key, (words, _) in WITHIN.items())]
    links = (
        tag("li", pieces.tasks_link(words, current=key == which.within, **which.query(within=key)))
        for key, words in choices
    )
    return tag("nav", tag("ul", *links, class_="filters"), aria_label="Ended within")


def _form(which: TaskFilter) -> Html:
    """Return fields for a part of the message, and for instants."""
    fields = [
        _field("message", "Message or exception", which.message, type="search", maxlength=200),
        _field("since", "Ended from (UTC)", _local(which.since), type="datetime-local", step=1),
        _field("until", "until (UTC)", _local(which.until), type="datetime-local", step=1),
    ]
    own = {"message", "since", "until"}
    kept = (
        tag("input", type="hidden", name=key, value=value) for key, value in which.query().items() if key not in own
    )
    button = tag("button", "Filter", type="submit")
    return tag(
        "form", *kept, *fields, button, action="/tasks", method="get", class_="fields", aria_label="Filter tasks"
    )


def _field(name: str, label: str, value: str | None, **attributes: object) -> Html:
    field = tag("input", id=f"f-{name}", name=name, value=value, autocomplete="off", **attributes)
    return tag("div", tag("label", label, for_=f"f-{name}"), field)


def _local(at: str | None) -> str | None:
    """Return an instant in the field's format."""
    found = instant(at)
    return None if found is None else found.strftime("%Y-%m-%dT%H:%M:%S")


def active(which: TaskFilter) -> Html | None:
    """Return the filters in use, each with a link that removes it; including invalid ones from the address."""
    items = list(_active(which))
    if not items:
        return None
    links = (
        tag(
            "li",
            pieces.tasks_link((words, tag("span", "✕", aria_hidden="true")), **which.query(**{key: None})),
            data_key=f"a{key}",
        )
        for key, words in items
    )
    label = tag("span", "Remove filter:", class_="note", id="active")
    return tag("nav", label, tag("ul", *links, class_="filters active"), aria_labelledby="active")


def _active(which: TaskFilter) -> Iterable[tuple[str, str]]:
    if which.word:
        yield "q", f"name or key contains “{clean(which.word, 60)}”"
    if which.message:
        yield "message", f"message contains “{clean(which.message, 60)}”"
    if which.kind:
        yield "kind", f"kind {clean(which.kind, 60)}"
    if which.run_id is not None:
        yield "run", f"run {which.run_id}"
    for key, word, value in (("since", "from", which.since), ("until", "until", which.until)):
        if value:
            at = _local(value)
            yield key, f"{word} {at.replace('T', ' ')} UTC" if at else f"{word} {clean(value, 40)}: invalid time"
    if which.slowest:
        yield "order", "slowest first"
