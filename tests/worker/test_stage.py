"""A private database in memory: rows in it keep their types, and what it does not take is given back."""

from __future__ import annotations

import sqlite3

import pytest

from pipeloom.data.columns import declared_types
from pipeloom.data.flat import Plans
from pipeloom.data.rows import Block, Shape
from pipeloom.worker.stage import Stage

SHAPE = Shape("t", ("n", "v"), "error", ())


def put(stage, *rows, shape=SHAPE):
    stretches, rest = stage.put(Block(shape, list(rows)))
    assert rest is None
    return stretches


def read(stretches):
    return [row for stretch in stretches for block in stretch.blocks() for row in block.rows]


def test_a_table_has_the_types_that_its_values_share():
    """Rows with other types come into another one, and back into the first; NULL goes everywhere."""
    stage = Stage(Plans({}))
    stretches = [
        *put(stage, (1, "a"), (2, None)),
        *put(stage, (0.5, "b")),
        *put(stage, (3, "c"), (None, None)),
        *put(stage, (4, b"x"), ("y", "z")),
    ]
    image = stage.seal()

    assert [table.types for table in image.tables] == [("INTEGER", "TEXT"), ("REAL", "TEXT"), ("", "")]
    assert [(place, first, last) for _, place, first, last in stretches] == [
        (0, 1, 2),
        (1, 1, 1),
        (0, 3, 4),
        (2, 1, 2),
    ]
    assert read(stretches) == [(1, "a"), (2, None), (0.5, "b"), (3, "c"), (None, None), (4, b"x"), ("y", "z")]


def test_there_are_never_many_tables_for_one_shape():
    """However the types alternate: one without types takes them all."""
    stage, shape = Stage(Plans({})), Shape("t", tuple("abcde"), "error", ())
    samples = (1, 0.5, "x", b"y")
    rows = [tuple(samples[(n >> 2 * place) % 4] for place in range(5)) for n in range(1024)]
    stretches = [stretch for row in rows for stretch in put(stage, row, shape=shape)]
    image = stage.seal()

    assert len(image.tables) == 9
    assert read(stretches) == rows


def test_minus_zero_keeps_its_sign():
    """Which a column of REAL would take from it; the table that it goes to may have no type."""
    stage = Stage(Plans({}))
    values = [0.5, 0.0, -0.0, None, 0.0, "x", -0.0]
    stretches = [stretch for value in values for stretch in put(stage, (1, value))]
    stage.seal()
    assert list(map(repr, read(stretches))) == [repr((1, value)) for value in values]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 31, 33, 511, 512, 513, 1500])
def test_every_count_of_rows_arrives(count):
    """Statements are padded; what pads them is not in the way of rows that follow."""
    stage = Stage(Plans({}))
    rows = [(n, "x") for n in range(count)]
    stretches = [*put(stage, *rows), *put(stage, *rows)]
    stage.seal()
    assert read(stretches) == rows * 2
    assert (stretches[0].first, stretches[-1].last) == (1, 2 * count)


@pytest.mark.parametrize(
    "row", [(1, 1 << 63), (1, "\ud800")], ids=["an int that is too large", "text that is none"]
)
def test_what_sqlite_does_not_take_is_given_back(row):
    """With all that follows; what came before is there, and what comes later is, too."""
    stage = Stage(Plans({}))
    rows = [(n, n) for n in range(2000)]
    stretches, rest = stage.put(Block(SHAPE, [*rows, row, (3, 4)]))
    more = put(stage, (5, 6))
    stage.seal()

    assert rest.rows == [*rows[1792:], row, (3, 4)]
    assert read([*stretches, *more]) == [*rows[:1792], (5, 6)]


def test_a_row_that_is_too_long_as_a_whole_is_given_back():
    """SQLite finds it when others of the same statement are in already: these are cut off again."""
    stage = Stage(Plans({}))
    stretches = put(stage, (1, "x"))
    stage._conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1000)
    rows = [(n, "y") for n in range(100)]
    _, rest = stage.put(Block(SHAPE, [*rows, ("a" * 700, "b" * 700), (3, 4)]))
    more = put(stage, (5, 6), (7, "z"))
    stage.seal()

    assert len(rest.rows) == 102
    assert read([*stretches, *more]) == [(1, "x"), (5, 6), (7, "z")]


@pytest.mark.parametrize("width", [2000, 2001])
def test_a_row_may_be_as_wide_as_sqlite_takes_it(width):
    """A wider one is given back."""
    stage, shape = Stage(Plans({})), Shape("t", tuple(f"c{n}" for n in range(width)), "error", ())
    stretches, rest = stage.put(Block(shape, [tuple(range(width))]))
    assert (len(stretches), rest is None) == ((1, True) if width == 2000 else (0, False))


def test_words_are_read_as_the_numbers_that_are_declared():
    """Here already; also after rows without any, and a handful in which one does not fit stays as it is."""
    declared = declared_types({"T": {"N": int, "v": float}})
    stage = Stage(Plans(declared))
    stretches = [
        *put(stage, (None, None)),
        *put(stage, ("7", "1.5"), (None, "2")),
        *put(stage, (8, 3)),
        *put(stage, ("9", "x")),
        *put(stage, ("1e3", None)),
    ]
    image = stage.seal()

    assert read(stretches) == [(None, None), (7, 1.5), (None, 2.0), (8, 3.0), ("9", "x"), (1000, None)]
    assert [list(map(type, row)) for row in read(stretches)[3:]] == [[int, float], [str, str], [int, type(None)]]
    kinds = [[found - {type(None)} for found in table.kinds] for table in image.tables]
    assert kinds == [[set(), set()], [{int}, {float}], [{str}, {str}], [{int}, set()]]
    assert [table.types for table in image.tables] == [
        ("", ""), ("INTEGER", "REAL"), ("TEXT", "TEXT"), ("INTEGER", "TEXT")
    ]  # fmt: skip


def test_a_column_that_begins_with_null_gets_its_type_later():
    """And the others keep theirs meanwhile: few tables, and each like the one that the rows go to."""
    stage = Stage(Plans({}))
    stretches = [
        *put(stage, (1, None)),
        *put(stage, (None, "x")),
        *put(stage, (2, None)),
        *put(stage, (None, None)),
    ]
    image = stage.seal()
    assert [table.types for table in image.tables] == [("INTEGER", ""), ("INTEGER", "TEXT")]
    assert read(stretches) == [(1, None), (None, "x"), (2, None), (None, None)]
