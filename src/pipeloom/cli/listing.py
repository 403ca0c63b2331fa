"""Lists that say what they leave out: row limits, totals and paging.

A program that reads JSON gets all rows, one per line, streamed: a list of any length needs the memory of one page,
and stops when its reader is gone.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import click

from pipeloom.cli.formatting import draw
from pipeloom.show.streams import is_unread

__all__ = ["count_of", "how_many", "in_pages", "left_out", "note", "tell_rows"]

Row = TypeVar("Row")

PAGE: Final = 5000
_GLANCE: Final = 500  # rows between two checks that the output still has a reader


def how_many(limit: int | None, default: int, *, as_document: bool) -> int | None:
    """Return the row limit: as given, else none if a program reads JSON; ``None`` means all rows."""
    if limit is None and as_document and not sys.stdout.isatty():
        return None
    return default if limit is None else limit


def in_pages(read: Callable[[Row | None, int], list[Row]], limit: int | None, page: int = PAGE) -> Iterator[Row]:
    """Yield rows page by page, at most ``limit`` if given; nothing stays open between two pages.

    Args:
        read: Returns at most so many of the rows after the one given, or the first ones.
        limit: How many rows to yield; ``None`` for all.
        page: How many to read at once.
    """
    last: Row | None = None
    while limit is None or limit > 0:
        wanted = page if limit is None else min(page, limit)
        found = read(last, wanted)
        yield from found
        if len(found) < wanted:
            return
        last = found[-1]
        limit = None if limit is None else limit - wanted


def tell_rows(name: str, rows: Iterable[Any], about: Callable[[int], Mapping[str, Any]]) -> int:
    """Print one JSON document, one row per line, ASCII only; stop when the reader is gone. Return the row count.

    Args:
        name: The document's key for the rows.
        rows: Rows of the history, or dicts; n ≥ 0.
        about: Takes the number of rows, and returns the document's other keys.
    """
    count = 0
    encode = json.JSONEncoder(default=_fields).encode
    sys.stdout.write("{\n  " + json.dumps(name) + ": [")
    for row in rows:
        if count % _GLANCE == 0 and is_unread(sys.stdout):
            return count
        sys.stdout.write((",\n    " if count else "\n    ") + encode(row))
        count += 1
    sys.stdout.write("\n  ]" if count else "]")
    for key, value in about(count).items():
        sys.stdout.write(f",\n  {json.dumps(key)}: {json.dumps(value)}")
    sys.stdout.write("\n}\n")
    sys.stdout.flush()
    return count


def _fields(row: Any) -> dict[str, Any]:
    """Return a row as a dict; ``asdict`` copies each value, which takes ten times as long."""
    kind: object = type(row)
    return {name: getattr(row, name) for name in _names(kind)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def count_of(count: Callable[[], int]) -> int | None:
    """Return the number of rows, or ``None`` if counting takes too long; the list is correct without it."""
    from pipeloom.errors import StorageError

    try:
        return count()
    except StorageError:
        return None


def left_out(shown: int, total: int | None, more: str) -> str | None:
    """Return a sentence on what a list leaves out; ``None`` when it shows everything.

    Args:
        shown: Number of rows shown.
        total: Number of rows in all; ``None`` when unknown but larger.
        more: How to see more rows.
    """
    if total is None:
        return f"{shown:,} shown, more exist: {more}"
    return f"{shown:,} shown, {total - shown:,} more: {more}" if total > shown else None


def note(words: str | None, *, as_document: bool = False) -> None:
    """Print a line about a list: below it on a terminal, on standard error when a program reads it."""
    if not words or is_unread(sys.stdout):
        return
    sys.stdout.flush()
    if as_document or not sys.stdout.isatty():
        click.echo(words, err=True)
    else:
        from rich.text import Text

        draw(Text(words, style="dim"))
