"""What is written and what is noted about it stand, or are lost, together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeloom.db.transaction import Transaction


class Thing:
    """Something that the writer notes things on."""

    known: int | None = None
    more: tuple[int, ...] = ()


@pytest.fixture
def conn(db) -> Iterator[sqlite3.Connection]:
    """A connection to a file with a table."""
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        conn.execute("CREATE TABLE t (n UNIQUE ON CONFLICT ROLLBACK)")
        yield conn


@pytest.fixture
def transaction(conn, db) -> Transaction:
    """The transactions of that connection."""
    return Transaction(conn, db)


def put(transaction: Transaction, thing: Thing, n: int) -> None:
    """Write a row, and note it."""
    transaction.write("INSERT INTO t VALUES (?)", (n,))
    transaction.note(thing, known=n, more=(*thing.more, n))


def test_notes_stand_with_a_commit(transaction, conn):
    """A later rollback is none of their business."""
    thing = Thing()
    put(transaction, thing, 1)
    transaction.commit()
    transaction.roll_back()

    assert (thing.known, thing.more) == (1, (1,))
    assert conn.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_notes_go_with_a_rollback(transaction, conn):
    """The last one first, back to what was there before the transaction."""
    thing, undone = Thing(), []
    put(transaction, thing, 1)
    transaction.commit()
    transaction.if_lost(lambda: undone.append(thing.known))
    put(transaction, thing, 2)
    put(transaction, thing, 3)
    transaction.roll_back()

    assert (thing.known, thing.more, undone) == (1, (1,), [1])
    assert conn.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_what_is_tried_apart_goes_alone(transaction, conn):
    """One within the other, too."""
    thing = Thing()
    transaction.open()
    put(transaction, thing, 1)
    with pytest.raises(ValueError, match="no"), transaction.apart():
        put(transaction, thing, 2)
        with transaction.apart():
            put(transaction, thing, 3)
        raise ValueError("no")
    with transaction.apart():
        put(transaction, thing, 4)
        with pytest.raises(ValueError, match="no"), transaction.apart():
            put(transaction, thing, 5)
            raise ValueError("no")
    transaction.commit()

    assert thing.more == (1, 4)
    assert conn.execute("SELECT n FROM t").fetchall() == [(1,), (4,)]


def test_a_lost_transaction_takes_all_notes(transaction, conn):
    """SQLite has rolled it back by itself."""
    thing = Thing()
    put(transaction, thing, 1)
    transaction.commit()
    put(transaction, thing, 2)
    with pytest.raises(sqlite3.IntegrityError), transaction.apart():
        put(transaction, thing, 1)
    assert not conn.in_transaction
    transaction.roll_back()

    assert thing.more == (1,)
    assert conn.execute("SELECT n FROM t").fetchall() == [(1,)]
