"""HTML from Python values, for the report and the web page: anything that is not ``Html`` is treated as text.

Text is cleaned and escaped when it is inserted, so untrusted text can neither end an element nor control a
terminal. Our pages request nothing from elsewhere and use only their own styles.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from pipeloom.data.text import clean, clean_block

__all__ = ["Html", "block", "document", "facts", "join", "style", "tag"]

_EMPTY: Final = frozenset(("input", "link", "meta"))


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: The element's name; never untrusted.
        children: ``Html`` is kept as it is, other text and numbers are escaped, iterables are joined, and ``None``
            is skipped.
        attributes: ``data_since`` becomes ``data-since``, and ``class_`` becomes ``class``; ``True`` gives a bare
            attribute, and ``None`` none.
    """
    told = []
    for key, value in attributes.items():
        if value is True:
            told.append(f" {_attribute(key)}")
        elif value is not None and value is not False:
            told.append(f' {_attribute(key)}="{escape(clean(value, 2_000))}"')
    head = f"<{name}{''.join(told)}>"
    return Html(head if name in _EMPTY else f"{head}{_shown(children)}</{name}>")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _shown(child: Any) -> str:
    if isinstance(child, Html):
        return child
    if child is None or child is False:
        return ""
    if isinstance(child, str | int | float):
        return escape(clean(child, 20_000))
    return "".join(map(_shown, child))


def join(*parts: Any) -> Html:
    """Return several children as one piece of HTML."""
    return Html(_shown(parts))


def block(text: str, limit: int | None = None, **attributes: Any) -> Html:
    """Return untrusted text with its line breaks, such as a traceback.

    Args:
        text: The text.
        limit: The most characters to show; longer text loses its middle.
        attributes: See :func:`tag`.
    """
    if limit is not None and len(text) > limit:
        left = len(text) - limit
        text = f"{text[: limit // 2]}\n… {left:,} characters left out …\n{text[-limit // 2 :]}"
    return tag("pre", Html(escape(clean_block(text))), **attributes)


def facts(pairs: Iterable[tuple[str, Any]]) -> Html:
    """Return a table of (name, value); pairs without a value are left out."""
    rows = (tag("tr", tag("th", what, scope="row"), tag("td", value)) for what, value in pairs if value)
    return tag("div", tag("table", tag("tbody", *rows), class_="facts"), class_="table")


@cache
def style() -> str:
    """Return the styles of all our pages, as CSS."""
    return files("pipeloom.show").joinpath("style.css").read_text(encoding="utf-8")


def document(title: str, *body: Html) -> Html:
    """Return a complete page in one file; it may load nothing, run nothing and send nothing.

    Args:
        title: Untrusted text.
        body: The contents of the page.

    Source: https://www.w3.org/TR/CSP3/ (a hash allows exactly this ``style`` element)
    """
    css = style()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", clean(title, 200)),
        tag("style", Html(css)),
    )
    return Html(f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang='en')}\n")
