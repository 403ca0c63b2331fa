"""Failures by kind, as rows of every width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from pipeloom.show.failures import TIMES, Told, in_words, kind_rows, more_kinds

KINDS = [
    Told(
        1234,
        "error",
        "ValueError",
        "/home/ann/load.py:14 in parse",
        "not a number: …",
        "/data/2013/01/part-0001.csv",
    ),
    Told(7, "timed_out", None, None, "", "/data/2013/02/part-0417.csv"),
    Told(1, "error", "httpx.HTTPStatusError", r"C:\ann\load.py:20 in get", "Client error …", "/data/2013/03/a.csv"),
]


def rows(width, room, kinds=KINDS):
    """Return the rows as text."""
    return [row.plain for row in kind_rows(kinds, width, room)]


def test_a_wide_terminal_has_all_in_one_row():
    """Count, type, place, message, and the task that failed last."""
    assert rows(120, 9) == [
        f"  ✗ 1,234 {TIMES} ValueError  load.py:14 in parse  not a number: …  last /data/2013/01/part-0001.csv",
        f"  ✗     7 {TIMES} timed out  last /data/2013/02/part-0417.csv",
        f"  ✗     1 {TIMES} HTTPStatusError  load.py:20 in get  Client error …  last /data/2013/03/a.csv",
    ]


def test_narrower_ones_have_two_or_three():
    """None of it is lost at 80 and at 40 columns, if there is room."""
    assert rows(80, 9)[:2] == [
        f"  ✗ 1,234 {TIMES} ValueError  load.py:14 in parse",
        "         not a number: …  last /data/…/01/part-0001.csv",
    ]
    assert rows(40, 9)[:3] == [
        f"  ✗ 1,234 {TIMES} ValueError  load.py:14",
        "         not a number: …",
        "         last /data/…/01/part-0001.csv",
    ]


def test_without_room_the_largest_are_told_and_how_many_there_are():
    """The type and what it is about stay."""
    assert rows(40, 2) == [f"  ✗ 1,234 {TIMES} ValueError  not a number: …", "  … and 2 more kinds of failure"]
    assert rows(40, 1) == [f"  ✗ 1,234 {TIMES} ValueError  not a number: …"]
    assert more_kinds(1) == "1 more kind of failure"
    assert rows(40, 0) == []
    assert rows(40, 5, []) == []


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 109, 110, 200])
@pytest.mark.parametrize("room", range(12))
def test_no_row_is_too_wide_and_none_is_too_many(width, room):
    """Whatever the names and messages are."""
    long = [told._replace(message="資料 " * 100, name="資" * 300, place=f"{'x' * 99}:1 in y") for told in KINDS]
    for kinds in (KINDS, long):
        found = rows(width, room, kinds)
        assert len(found) <= room
        assert all(cell_len(row) <= width for row in found)


def test_a_kind_in_words():
    """As plain lines say it."""
    assert in_words(KINDS[0]) == "ValueError at load.py:14 in parse: not a number: …"
    assert in_words(KINDS[1]) == "timed out"
    assert in_words(KINDS[2]._replace(status="cancelled")) == (
        "HTTPStatusError (cancelled) at load.py:20 in get: Client error …"
    )
    assert in_words(KINDS[0]._replace(message="\x1b[2J")) == r"ValueError at load.py:14 in parse: \x1b[2J"
