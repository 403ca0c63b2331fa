"""Rows as a database in memory: they come back as they were, and bytes that are not what was made are refused."""

from __future__ import annotations

import marshal
import sqlite3
from contextlib import closing

import pytest

from pipeloom import RowRefusedError
from pipeloom.data.flat import Plans
from pipeloom.data.image import Image, StagedTable, Stretch
from pipeloom.data.rows import Block, Shape
from pipeloom.worker.stage import Stage

SHAPE = Shape("t", ("n", "v"), "error", ())
VALUES = [None, 0, -(2**63), 2**63 - 1, 0.1 + 0.2, 7.0, float("inf"), "", "007", "1e3", "é\0", b"", b"\xff\0" * 9]


def image_of(rows, shape=SHAPE):
    """Return n rows as an image."""
    stage = Stage(Plans({}))
    _, rest = stage.put(Block(shape, rows))
    assert rest is None
    return stage.seal()


def resealed(image, *statements):
    """Return an image in which somebody ran statements, and which says that it is sound."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as conn:
        conn.deserialize(image.data)
        for statement in statements:
            conn.execute(statement)
        other = Image()
        other.tables = image.tables
        other.seal(conn.serialize())
        return other


def rows_of(image):
    return [row for block in Stretch(image, 0, 1, image.tables[0].rows).blocks() for row in block.rows]


@pytest.mark.parametrize(
    "rows", [[(n, value) for n, value in enumerate(VALUES)], [(1, 0.5)] * 3000], ids=["odd", "many"]
)
def test_rows_come_back_as_they_were(rows):
    """Every value with its type, a handful at a time; here and where the image has been sent to."""
    image = image_of(rows)
    plain, data = marshal.loads(marshal.dumps((image.plain(), image.data)))

    for each in (image, Image.from_plain(plain, data)):
        found = rows_of(each)
        assert found == rows
        assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in rows]
        assert each.tables[0].shape == SHAPE
        assert each.is_sound()
    blocks = list(Stretch(image, 0, 2, 2).blocks())
    assert [block.rows for block in blocks] == [rows[1:2]]


def test_examples_have_a_value_of_each_type_and_nothing_else():
    """By them a column is known without a look at its rows."""
    (table,) = image_of([(1, None), (2, "x"), (None, 0.5)]).tables
    assert table.examples().rows == [(0, 0.0), (None, "")]
    (table,) = image_of([(None, None)]).tables
    assert table.examples().rows == [(None, None)]
    assert StagedTable.from_plain(table.plain()).examples() == table.examples()


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"hello" * 1000,
    ],
    ids=["a bit", "a byte", "half", "nothing", "no database"],
)
def test_damaged_bytes_are_refused(harm):
    """Whatever happened to them on their way."""
    image = image_of([(n, "x" * 50) for n in range(200)])
    image.data = harm(image.data)

    assert not image.is_sound()
    with pytest.raises(RowRefusedError, match="damaged on its way"):
        rows_of(image)


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE more (x)"],
        ["CREATE TRIGGER evil AFTER INSERT ON pipeloom_staged_0 BEGIN SELECT 1; END"],
        ["CREATE INDEX more ON pipeloom_staged_0 (c0)"],
        ["DROP TABLE pipeloom_staged_0", "CREATE VIEW pipeloom_staged_0 AS SELECT 1 AS c0, 2 AS c1"],
        ["DROP TABLE pipeloom_staged_0", "CREATE TABLE pipeloom_staged_0 (c0 INTEGER, c1 AS (abs(c0)))"],
        ["PRAGMA writable_schema = ON", "UPDATE sqlite_master SET sql = sql || ' -- '"],
    ],
    ids=["a table", "a trigger", "an index", "a view", "what is computed", "another text"],
)
def test_a_schema_that_is_not_the_told_one_is_refused(statements):
    """Though its checksum is right; nothing in it is read or run."""
    image = resealed(image_of([(1, 2)]), *statements)
    assert not image.is_sound()
    with pytest.raises(RowRefusedError, match="damaged on its way"):
        rows_of(image)
