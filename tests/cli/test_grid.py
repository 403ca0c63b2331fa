"""A table that fits: who gives way, and letters that are two cells wide."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from pipeloom.cli.grid import Grid

ROWS = [
    ("1", "short", ("done", "green"), "a message of some length that gives way"),
    ("20", "a-name-that-is-too-long.csv", Text("error"), ""),
    ("3", "数据文件-一二三", "running 5 %", "短い"),
]


def drawn(width, rows=ROWS, **options):
    """Return the lines of a table on a console of this width."""
    out = io.StringIO()
    Console(file=out, width=width).print(Grid([">id", "~task", "status", "~message"], rows, **options))
    return out.getvalue().splitlines()


def test_where_there_is_room_nothing_is_cut():
    """Columns as wide as what they hold, and no spaces at the end."""
    assert drawn(120) == [
        "id  task                         status       message",
        " 1  short                        done         a message of some length that gives way",
        "20  a-name-that-is-too-long.csv  error",
        " 3  数据文件-一二三              running 5 %  短い",
    ]


@pytest.mark.parametrize("width", [30, 40, 50, 60, 79])
def test_names_and_messages_give_way_and_nothing_else_does(width):
    """Down to what is still of use."""
    from rich.cells import cell_len

    lines = drawn(width)
    rows = [line for line in lines if not line.startswith("    ")]  # short lines have messages below

    assert all(cell_len(line) <= width for line in lines)
    assert all(word in line for word, line in zip(("status", "done", "error", "running 5 %"), rows, strict=True))


def test_short_lines_have_messages_below_and_leave_out_what_can_be_spared():
    """Rather than eight letters of each; a row without a message has no line for it."""
    out = io.StringIO()
    rows = [
        ("1", "a-name-of-some-length.csv", "error 30 %", "500 ms", "ValueError: no number"),
        ("2", "b", *"cd", ""),
    ]
    Console(file=out, width=40).print(Grid([">id", "~task", "status", ">?time", "~message"], rows))

    assert out.getvalue().splitlines() == [
        "id  task                      status",
        " 1  a-name-of-so…-length.csv  error 30 %",
        "    ValueError: no number",
        " 2  b                         c",
    ]


def test_names_are_cut_to_where_they_differ():
    """What all of them begin with goes first."""
    rows = [(str(n), f"/data/archive/flights/part-000{n}.csv", "error", "no number in it") for n in (1, 2)]

    assert [line.split()[1] for line in drawn(50, rows)[1:]] == ["/data/…/part-0001.csv", "/data/…/part-0002.csv"]


def test_an_indent_counts():
    """Before each line, within the width."""
    lines = drawn(50, indent=2)

    assert all(line.startswith("  ") and len(line) <= 50 for line in lines)


def test_no_rows_are_a_head():
    """And no error."""
    assert drawn(50, []) == ["id  task  status  message"]


def test_a_column_that_is_worth_plenty_of_room_only_is_there_where_there_is():
    """And never when nothing is in it."""

    def heads(width, place):
        out = io.StringIO()
        rows = [("1", "n" * 40, place, "m" * 60)]
        Console(file=out, width=width).print(Grid([">id", "~task", "+place", "~message"], rows))
        return out.getvalue().splitlines()[0].split()

    assert heads(120, "load.py:14 in parse") == ["id", "task", "place", "message"]
    assert heads(80, "load.py:14 in parse") == heads(120, "") == ["id", "task", "message"]
