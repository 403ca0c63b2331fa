"""What a task has staged: its order, its weight, and its end."""

from __future__ import annotations

import threading
from itertools import chain

import pytest
from leaks import unnamed_in

from pipeloom import TaskTooLargeError
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Spool
from pipeloom.worker.staging import Staging

SHAPE = Shape("t", ("n",), "error", ())
OTHER = Shape("u", ("n",), "error", ())
LONG_S = 10.0


def block(*rows, shape=SHAPE):
    return Block(shape, [(row,) for row in rows])


@pytest.fixture
def staging():
    """With room for 10,000 bytes."""
    return Staging(10_000)


def test_rows_of_one_shape_become_one_block(staging):
    """What comes in between keeps its place."""
    staging.add([block(1)])
    staging.add([block(2, 3)])
    staging.add_statement(Statement("DELETE FROM t", ()))
    staging.add([block(4)])
    staging.add([block(5, shape=OTHER)])
    staging.add([block(6)])

    parts, rows, size = staging.take()
    assert parts == [
        block(1, 2, 3),
        Statement("DELETE FROM t", ()),
        block(4),
        block(5, shape=OTHER),
        block(6),
    ]
    assert rows == 6
    assert 0 < size <= 10_000


def test_taking_begins_anew(staging):
    """Of an empty one nothing is taken."""
    staging.add([block(1)])
    first = staging.last
    taken = staging.take()

    assert taken[0] == [first]
    assert staging.last is None
    assert staging.take() == ([], 0, 0)
    staging.add([block(2)])
    assert staging.take()[0] == [block(2)]
    assert taken[0] == [block(1)]


def test_a_row_is_appended_only_to_the_block_that_is_still_the_last(staging):
    """A checkpoint of another thread may have taken it meanwhile, or another shape come behind it."""
    staging = Staging(1e9)
    staging.add([block(0)])
    for n in range(8):  # until rows need not be weighed one by one
        staging.join(staging.last, (n,))
    last = staging.last
    assert staging.append(last, ("fits",))

    staging.add([block(9, shape=OTHER)])
    assert not staging.append(last, ("too late",))
    staging.join(last, ("in a block of its own",))
    assert staging.last == Block(SHAPE, [("in a block of its own",)])

    staging.take()
    assert not staging.append(last, ("taken",))
    staging.join(last, ("anew",))
    assert staging.take()[0] == [Block(SHAPE, [("anew",)])]
    assert ("too late",) not in last.rows


def test_light_rows_are_weighed_ever_more_seldom_and_heavy_ones_always():
    """Weighing takes a fifth of the time of writing a row."""

    def unweighed(row, of=1000):
        staging = Staging(1e12)
        staging.add([block(0)])
        last, appended = staging.last, 0
        for _ in range(of):
            if staging.append(last, row):
                appended += 1
            else:
                staging.join(last, row)
        return appended

    assert unweighed((1,)) > 950
    assert unweighed((b"x" * 100_000,)) == 0


@pytest.mark.parametrize(
    "add",
    [
        lambda staging: staging.add([block(*[b"x" * 6000] * 2)]),
        lambda staging: staging.add([block(2), block(*[b"x" * 6000] * 2, shape=OTHER)]),
        lambda staging: staging.add_statement(Statement("INSERT INTO t VALUES (?)", (b"x" * 12_000,))),
        lambda staging: staging.add_statement(Statement("INSERT INTO t VALUES (:x)", {"x": b"x" * 12_000})),
        lambda staging: staging.join(staging.last, (b"x" * 12_000,)),
    ],
    ids=["rows", "rows of two shapes", "a statement", "a statement with names", "one row"],
)
def test_what_would_be_too_much_is_not_added(staging, add):
    """The sentence says how much it is, and what to do; what was there stays, and there is still room."""
    staging.add([block(1)])
    with pytest.raises(TaskTooLargeError, match=r"ctx\.checkpoint") as caught:
        add(staging)

    assert "max_task_mb" in str(caught.value)
    taken, _, size = staging.take()
    assert taken == [block(1)]
    assert size < 200


def test_many_light_rows_come_to_the_limit_too(staging):
    """Those that were not weighed count like the one that was."""
    staging.add([block(0)])
    last, written = staging.last, 0
    with pytest.raises(TaskTooLargeError):
        for _ in range(10_000):
            if not staging.append(last, (1,)):
                staging.join(last, (1,))
            written += 1

    assert 50 < written < 200  # 92 bytes each, by the estimate


def test_taking_makes_room(staging):
    """A task that comes to checkpoints may go on for ever."""
    for _ in range(100):
        staging.add([block(*[b"x" * 2000] * 4)])
        staging.take()

    assert staging.last is None


def test_what_is_abandoned_is_empty_and_closed_at_once(staging):
    """Even while a call that hangs holds the lock."""
    staging.add([block(1)])
    last = staging.last
    held, go_on = threading.Event(), threading.Event()

    def hold():
        with staging.lock:
            held.set()
            go_on.wait(LONG_S)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(LONG_S)
    staging.abandon()
    empty = staging.last is None
    go_on.set()
    holder.join(LONG_S)

    assert empty
    assert staging.is_closed
    assert not staging.append(last, (2,))
    assert staging.take() == ([], 0, 0)


# --- what is too much for memory ---

MIB = 2**20


@pytest.fixture(autouse=True)
def held(monkeypatch):
    """Half of what memory may hold otherwise."""
    monkeypatch.setattr("pipeloom.worker.staging._HELD", 8 * MIB)


def heavy(*numbers, shape=SHAPE):
    """A block of a MiB a row."""
    return Block(shape, [(bytes([number]) * MIB,) for number in numbers])


def unspooled(parts):
    """Return an output without a spool, and how many bytes of it were in memory."""
    spooled = [part for chunk in parts[0].chunks() for part in chunk] if type(parts[0]) is Spool else []
    held = [part for part in parts if type(part) is not Spool]
    return spooled + held, sum(len(row[0]) for part in held if type(part) is Block for row in part.rows)


def rows_of(parts):
    return [(part.shape.table, row[0][0]) if type(part) is Block else part for part in parts for row in _rows(part)]


def _rows(part):
    return part.rows if type(part) is Block else [None]


def test_what_is_too_much_for_memory_goes_to_a_file_in_its_order(tmp_path):
    """Rows, statements and shapes, however they are written; a few MiB stay in memory."""
    staging = Staging(float("inf"), str(tmp_path))
    expected = []
    for number in range(30):
        statement = Statement("DELETE FROM t WHERE n = ?", (number,))
        staging.add([heavy(number), heavy(number, shape=OTHER)])
        staging.add_statement(statement)
        expected += [("t", number), ("u", number), statement]
    parts, rows, size = staging.take()

    found, held = unspooled(parts)
    assert rows_of(found) == expected
    assert held <= 9 * MIB
    assert rows == 60
    assert size == pytest.approx(held, rel=0.01)  # what is in the file takes no memory


def test_one_call_that_is_too_much_is_cut(tmp_path):
    """Its chunks are small enough to be read one by one, and what was before stays before."""
    staging = Staging(float("inf"), str(tmp_path))
    staging.add([heavy(1)])
    staging.add([heavy(*range(2, 22)), heavy(22, shape=OTHER)])
    staging.add([heavy(23)])
    (spool, last), rows, _ = staging.take()

    chunks = [rows_of(chunk) for chunk in spool.chunks()]
    assert list(chain.from_iterable(chunks)) == [*(("t", n) for n in range(1, 22)), ("u", 22)]
    assert max(map(len, chunks)) <= 8
    assert rows_of([last]) == [("t", 23)]
    assert rows == 23


def test_rows_one_by_one_go_to_the_file_too(tmp_path):
    """Those that were appended without being weighed are all there."""
    staging = Staging(float("inf"), str(tmp_path))
    staging.add([Block(SHAPE, [(0,)])])
    for number in range(1, 300_000):
        last = staging.last
        if type(last) is not Block:
            staging.add([Block(SHAPE, [(number,)])])
        elif not staging.append(last, (number,)):
            staging.join(last, (number,))
    parts, rows, _ = staging.take()

    assert type(parts[0]) is Spool
    assert [row[0] for part in unspooled_parts(parts) for row in part.rows] == list(range(300_000))
    assert rows == 300_000


def unspooled_parts(parts):
    return [part for chunk in parts[0].chunks() for part in chunk] + parts[1:]


def test_a_file_that_cannot_be_had_is_told_and_changes_nothing(tmp_path):
    """Nothing of that call is staged; what was there before stays, and there is room for it."""
    staging = Staging(float("inf"), str(tmp_path / "nowhere"))
    staging.add([heavy(*range(7))])
    for add in (
        lambda: staging.add([heavy(8, 9)]),
        lambda: staging.add([heavy(*range(20))]),
        lambda: staging.add_statement(Statement("SELECT ?", (b"x" * 2 * MIB,))),
        lambda: staging.join(staging.last, (b"x" * 2 * MIB,)),
    ):
        with pytest.raises(TaskTooLargeError, match=r"nowhere \(No such file or directory\): free space") as caught:
            add()
        assert "7.0 MiB" in str(caught.value)
    parts, rows, size = staging.take()

    assert rows_of(parts) == [("t", n) for n in range(7)]
    assert rows == 7
    assert 7 * MIB < size < 8 * MIB


def test_the_limit_counts_what_is_in_the_file(tmp_path):
    """A number for max_task_mb means what it says."""
    staging = Staging(20 * MIB, str(tmp_path))
    for number in range(19):
        staging.add([heavy(number)])
    with pytest.raises(TaskTooLargeError, match=r"20\.0 MiB .* more than max_task_mb=20"):
        staging.add([heavy(19)])
    assert staging.take()[1] == 19


def test_what_is_abandoned_gives_its_file_back(tmp_path):
    """As what is closed without being kept does."""
    for end in (Staging.abandon, lambda staging: staging.close(keep=False)):
        staging = Staging(float("inf"), str(tmp_path))
        staging.add([heavy(*range(10))])
        assert unnamed_in(tmp_path) == 1
        end(staging)
        assert unnamed_in(tmp_path) == 0


def test_inputs_that_are_found_are_weighed_and_come_last(tmp_path):
    """With the rows, or in the file when they are too many for memory; and are dropped with them."""
    staging = Staging(100 * 2**20, str(tmp_path))
    staging.add([block(1)])
    staging.add_inputs(["1", "2"])
    staging.add([block(2)])
    staging.add_inputs(["3"])
    parts, rows, size = staging.take()
    assert parts[0] == block(1, 2)
    assert (parts[1].items, rows, len(parts)) == (["1", "2", "3"], 2, 2)
    assert size > 0

    staging.add_inputs(["x" * 2**20 for _ in range(40)])
    staging.add_inputs(["last"])
    (spool, last), _, held = staging.take()
    assert sum(len(part.items) for chunk in spool.chunks() for part in chunk) == 40
    assert (last.items, held < 1000) == (["last"], True)
    spool.close()

    staging.add_inputs(["4"])
    assert staging.close(keep=False) is None


def test_too_many_inputs_are_refused_as_a_whole(staging):
    """None of the call is added."""
    staging.add_inputs(["1"])
    with pytest.raises(TaskTooLargeError, match="most recently for an input"):
        staging.add_inputs(["x" * 1000] * 20)

    assert staging.take()[0][0].items == ["1"]
