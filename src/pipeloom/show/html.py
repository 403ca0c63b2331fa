"""Foreign text on a page, and the page around a body: no network, no script, only the styles that are known."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from pipeloom.data.text import clean, clean_block

__all__ = ["block", "document", "facts", "style", "table", "text"]


def text(value: object, limit: int | None = None) -> str:
    """Return one harmless line of foreign text, for an element or a quoted attribute.

    Args:
        value: Text, or anything with a ``str``.
        limit: The most characters to show.
    """
    return escape(clean(value, limit))


def block(value: str) -> str:
    """Return harmless text that keeps its line breaks, such as a traceback."""
    return escape(clean_block(value))


@cache
def style() -> str:
    """Return the styles of every page of ours, as CSS."""
    return files("pipeloom.show").joinpath("style.css").read_text(encoding="utf-8")


def document(title: str, body: str) -> str:
    """Return a whole page in one file; it may load nothing, run nothing and send nothing.

    Args:
        title: Foreign text.
        body: HTML.

    Source: https://www.w3.org/TR/CSP3/ (a hash admits exactly this ``style`` element)
    """
    css = style()
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title, 200)}</title>\n<style>{css}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Return a table whose first cell of each row is its header.

    Args:
        columns: (heading, class of its cells), n of them.
        rows: n cells each, as HTML.
        caption: What it is, for those who only hear it.
    """
    head = "".join(f'<th scope="col" class="{kind}">{escape(heading)}</th>' for heading, kind in columns)
    body = []
    for first, *others in rows:
        cells = "".join(
            f'<td class="{kind}">{cell}</td>' for cell, (_, kind) in zip(others, columns[1:], strict=True)
        )
        body.append(f'<tr><th scope="row" class="{columns[0][1]}">{first}</th>{cells}</tr>')
    # A narrow screen scrolls it sideways, which must be possible from the keyboard too.
    label = f' role="region" tabindex="0" aria-label="{escape(caption)}"' if caption else ""
    return (
        f'<div class="table"{label}><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table of (what, HTML); pairs without a value are left out."""
    rows = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{value}</td></tr>' for what, value in pairs if value
    )
    return f'<div class="table"><table class="facts"><tbody>{rows}</tbody></table></div>'
