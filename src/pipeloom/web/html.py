"""HTML from Python values: whatever is not ``Html`` already is text, and is cleaned and escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, Final

from pipeloom.data.text import clean
from pipeloom.show import html as markup

__all__ = ["Html", "block", "join", "tag"]

_EMPTY: Final = frozenset(("input", "link", "meta"))


class Html(str):
    """Text that is HTML."""

    __slots__ = ()


def _shown(child: Any) -> str:
    if isinstance(child, Html):
        return child
    if child is None or child is False:
        return ""
    if isinstance(child, str | int | float):
        return escape(clean(child, 20_000))
    return "".join(map(_shown, child))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element.

    Args:
        name: Of the element; never foreign.
        children: ``Html`` as it is; other text and numbers escaped; iterables of such; ``None`` is nothing.
        attributes: ``data_since`` is ``data-since``, ``class_`` is ``class``; ``True`` is bare, ``None`` left out.
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
    return key if key in ("viewBox", "preserveAspectRatio") else key.rstrip("_").replace("_", "-")


def join(parts: Iterable[Html]) -> Html:
    """Return several as one."""
    return Html("".join(parts))


def block(text: str, limit: int = 100_000, **attributes: Any) -> Html:
    """Return foreign text with its line breaks, such as a traceback; the middle of what is too long is left out.

    The box scrolls by itself, so it can be reached with the keyboard.
    """
    if len(text) > limit:
        left = len(text) - limit
        text = f"{text[: limit // 2]}\n… {left:,} characters left out …\n{text[-limit // 2 :]}"
    return tag("pre", Html(markup.block(text)), tabindex=0, role="region", **attributes)
