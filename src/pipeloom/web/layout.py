"""The frame of every page: header, navigation, search, and the places of its parts."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Any

from pipeloom import __version__
from pipeloom.show.html import Html, tag

__all__ = ["frame", "message_page"]

_NAVIGATION = (("/", "Overview"), ("/tasks", "Tasks"), ("/runs", "Runs"))


def frame(
    title: str,
    body: Html,
    *,
    database: str,
    path: str,
    query: Mapping[str, Any] | None = None,
    events: str | None = None,
) -> Html:
    """Return a whole page.

    Args:
        title: The title in the browser's tab.
        body: The contents of ``main``.
        database: The file's name.
        path: The page's address, to mark it in the navigation.
        query: The fields that the search form keeps (``q`` is the search text).
        events: The address of the page's event stream; ``None`` for a page that does not change.
    """
    query = query or {}
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · pipeloom"),
        tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="/static/page.css"),
        tag("link", rel="stylesheet", href="/static/web.css"),
        tag("script", src="/static/live.js", defer=True),
    )
    links = (
        tag("li", tag("a", word, href=address, aria_current="page" if address == path else None))
        for address, word in _NAVIGATION
    )
    state = (
        tag("span", "not live", id="state", class_="state", role="status", data_state="still") if events else None
    )
    kept = (tag("input", type="hidden", name=key, value=value) for key, value in query.items() if key != "q")
    search = tag(
        "form",
        *kept,
        tag("label", "Search tasks by name or key", for_="q", class_="hidden-text"),
        tag(
            "input", type="search", id="q", name="q", value=query.get("q"), placeholder="Search tasks  ( / )",
            maxlength=200, autocomplete="off", aria_keyshortcuts="/",
        ),
        action="/tasks",
        method="get",
        role="search",
    )  # fmt: skip
    top = tag(
        "header",
        tag(
            "div",
            tag("a", "pipeloom", tag("span", database), class_="brand", href="/"),
            tag("nav", tag("ul", *links), aria_label="Pages"),
            state,
            search,
        ),
        class_="top",
    )
    main = tag("main", body, id="main", tabindex=-1, data_events=events, data_now=f"{time():.1f}")
    foot = tag(
        "footer",
        "Reads ",
        tag("code", database),
        f" and never writes to it. Times are UTC. pipeloom {__version__}",
        class_="page-foot",
    )
    page = tag(
        "html",
        head,
        tag("body", tag("a", "Skip to content", href="#main", class_="skip"), top, main, foot),
        lang="en",
    )
    return Html(f"<!doctype html>\n{page}\n")


def message_page(title: str, text: str, *, database: str) -> Html:
    """Return a page with one message."""
    body = tag("section", tag("h1", title), tag("p", text, class_="note"))
    return frame(title, body, database=database, path="")
