"""What memory should not hold, in a file: it comes back as it was, and the file is gone with it."""

from __future__ import annotations

import marshal
import os
import pickle

import pytest
from leaks import unnamed_in

from pipeloom.data.flat import Plans
from pipeloom.data.found import Entry, Found
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Spool
from pipeloom.worker.stage import Stage

SHAPE = Shape("t", ("n", "x"), "error", ())
OTHER = Shape("u", ("n",), "update", ("n",))
VALUES = [None, 0, -(2**63), 2**63 - 1, 0.1 + 0.2, -0.0, float("inf"), "", "007", "é\0😀", b"", b"\xff\0" * 9]


class Name(str):
    __slots__ = ()


@pytest.fixture
def spool(tmp_path):
    """pytest keeps a reference to it for longer than it looks for leaks."""
    spool = Spool(str(tmp_path))
    yield spool
    spool.close()


def kinds(rows):
    return [[type(value) for value in row] for row in rows]


def test_it_comes_back_as_it_was(spool):
    """Chunk by chunk, every value with its type, and as often as it is asked for."""
    first = [
        Block(SHAPE, [(n, value) for n, value in enumerate(VALUES)]),
        Statement("DELETE FROM t WHERE n = ?", (1,)),
        Statement("DELETE FROM t WHERE n = :n", {"n": 1}),
        Block(OTHER, [(1,)]),
        Block(SHAPE, []),
    ]
    second = [Block(SHAPE, [(3, "three")])]
    spool.extend([first])
    spool.extend([second, []])

    for _ in range(2):
        chunks = list(spool.chunks())
        assert chunks == [first, second, []]
        assert kinds(chunks[0][0].rows) == kinds(first[0].rows)
        assert [type(part) for part in chunks[0]] == [Block, Statement, Statement, Block, Block]
    assert spool.rows == len(VALUES) + 2


def test_names_may_be_of_a_class_of_the_users(spool):
    """As those of an Enum are."""
    shape = Shape(Name("t"), (Name("n"),), "ignore", (Name("n"),))
    spool.extend([[Block(shape, [(1,)]), Statement(Name("SELECT 1"), ())]])

    assert list(spool.chunks()) == [[Block(shape, [(1,)]), Statement("SELECT 1", ())]]


def test_outlines_have_all_columns_of_what_is_there(spool):
    """One block a table, whatever the shapes; the file is not read."""
    spool.extend([[Block(SHAPE, [(1, None), (2, "x")]), Block(OTHER, [(1,)])], [Block(SHAPE, [(3, b"")])]])
    spool.extend([[Block(Shape("t", ("x", "y"), "ignore", ()), [(0.5, 7)])]])
    spool._read = None

    found = {block.shape.table: block for block in spool.outlines()}
    assert list(found) == ["t", "u"]
    assert found["t"].shape.columns == ("n", "x", "y")
    assert found["t"].rows == [(None, None, None)]


def test_what_cannot_be_written_leaves_it_as_it_was(tmp_path):
    """None of the chunks of a call, nor their rows and types."""

    def failing():
        yield [Block(OTHER, [(2,)])]
        raise OSError("as a full disk")

    spool = Spool(str(tmp_path))
    spool.extend([[Block(SHAPE, [(1, "x")])]])
    with pytest.raises(OSError, match="full disk"):
        spool.extend(failing())
    spool.extend([[Block(SHAPE, [(2, "y")])]])

    assert list(spool.chunks()) == [[Block(SHAPE, [(1, "x")])], [Block(SHAPE, [(2, "y")])]]
    assert spool.rows == 2
    assert [block.shape.table for block in spool.outlines()] == ["t"]


def test_the_file_has_no_name(spool, tmp_path):
    """So a crash leaves nothing."""
    spool.extend([[Block(SHAPE, [(1, "x")])], [Block(SHAPE, [(2, "y")])]])
    assert list(tmp_path.iterdir()) == []
    assert unnamed_in(tmp_path) == 1


def test_a_dropped_one_is_closed(tmp_path):
    """At once, without a warning; whoever is in the middle of reading it keeps it."""
    spool = Spool(str(tmp_path))
    spool.extend([[Block(SHAPE, [(1, "x")])], [Block(SHAPE, [(2, "y")])]])
    reading = spool.chunks()
    next(reading)
    del spool
    assert len(list(reading)) == 1
    del reading
    assert unnamed_in(tmp_path) == 0


def test_a_forked_child_changes_nothing(spool):
    """It has the same file, and would write where its parent does."""
    spool.extend([[Block(OTHER, [(1,)])]])
    child = os.fork()
    if not child:
        spool.extend([[Block(OTHER, [(666,)] * 100)]])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    spool.extend([[Block(OTHER, [(2,)])]])

    assert list(spool.chunks()) == [[Block(OTHER, [(1,)])], [Block(OTHER, [(2,)])]]


def test_a_directory_that_is_not_there(tmp_path):
    """An error of the system's, and nothing is left."""
    with pytest.raises(FileNotFoundError):
        Spool(str(tmp_path / "nowhere"))


def test_it_goes_to_another_process_with_what_is_in_it(spool):
    """As outcomes do whose executor has its workers elsewhere."""
    spool.extend([[Block(SHAPE, [(1, "x")]), Statement("SELECT 1", ())]])
    other = pickle.loads(pickle.dumps(spool))

    assert list(other.chunks()) == list(spool.chunks())
    assert other.rows == 1


def test_it_is_handed_over_by_its_descriptor(spool):
    """With what is told beside it; images are read only when their chunk is."""
    stage = Stage(Plans({}))
    stretches, _ = stage.put(Block(SHAPE, [(n, value) for n, value in enumerate(VALUES) if value != "é\0\ud800"]))
    stage.seal()
    spool.extend([[Block(OTHER, [(1,)]), *stretches, Statement("SELECT 1", ())], [*stretches]])
    other = Spool.of(os.dup(spool.fileno()), marshal.loads(marshal.dumps(spool.plain())))

    for each in (spool, other):
        (_, stretch, _), (again,) = each.chunks()
        rows = [row for block in stretch.blocks() for row in block.rows]
        assert [list(map(repr, row)) for row in rows] == [
            [repr(n), repr(value)] for n, value in enumerate(VALUES) if value != "é\0\ud800"
        ]
        assert [block.rows for block in again.blocks()] == [rows]
        assert each.rows == 1 + 2 * len(rows)
        assert [block.shape.columns for block in each.outlines()] == [("n",), ("n", "x")]
        assert {type(row[1]) for row in each.outlines()[1].rows} == {int, float, str, bytes}


def test_inputs_that_were_found_come_last_and_may_be_identified(spool):
    """A chunk at a time, and as often as it is read; the rows stay as they are."""
    rows = Block(SHAPE, [(1, "x")])
    spool.extend([[rows, Found(["1", "2"])], [Found(["3"])], [rows]])
    asked = []

    def identify(items):
        asked.append(items)
        return [Entry(f"key {item}", "é", None, item) for item in items]

    def found():
        return [(part.items, part.entries) for chunk in spool.chunks() for part in chunk if isinstance(part, Found)]

    assert spool.has_inputs
    assert found() == [(["1", "2"], None), (["3"], None)]
    spool.identify(identify)
    assert asked == [["1", "2"], ["3"]]
    assert found() == [(items, identify(items)) for items in (["1", "2"], ["3"])]
    assert [part for chunk in spool.chunks() for part in chunk if isinstance(part, Block)] == [rows, rows]
    there = Spool.of(os.dup(spool.fileno()), spool.plain())
    assert [len(chunk) for chunk in there.chunks()] == [len(chunk) for chunk in spool.chunks()]
    there.extend([[rows]])
    assert list(there.chunks())[2] == [rows]
    there.close()
