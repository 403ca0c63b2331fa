"""A read-only connection whose every question has an end."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from pipeloom.db.failures import storage_error
from pipeloom.db.limited import LONGEST, LONGEST_RESULT, LimitedReader
from pipeloom.errors import StorageError

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture
def file(db):
    """A database with one row, whose text is not UTF-8."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t AS SELECT CAST(x'61ff62' AS TEXT) AS x")
        conn.commit()
    return db


def test_a_question_ends_when_it_is_late(file):
    """The next one is answered; an error of another kind is none of lateness."""
    asked = []

    def is_late():
        asked.append(1)
        return True

    with closing(LimitedReader(file, is_late)) as reader:
        with pytest.raises(sqlite3.OperationalError) as late:
            reader.rows(ENDLESS)
        assert reader.was_ended(late.value)
        with pytest.raises(sqlite3.OperationalError) as refused:
            reader.rows("DELETE FROM t")
        assert not reader.was_ended(refused.value)
        assert reader.rows("SELECT x FROM t WHERE ? = 1", (1,)) == [("a\\xffb",)]
    assert asked


def test_an_interruption_that_sqlite_swallowed_is_raised(file):
    """What the handler raises ends the question, and is lost."""
    sqlite3.enable_callback_tracebacks(False)  # whoever imports Datasette has turned them on

    def is_late():
        if not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt
        return False

    interrupted = []
    with closing(LimitedReader(file, is_late)) as reader:
        with pytest.raises(sqlite3.OperationalError) as ended:
            reader.rows(ENDLESS)
        with pytest.raises(KeyboardInterrupt):
            reader.was_ended(ended.value)


def test_questions_within_one_state_see_no_change(file):
    """Whatever is committed meanwhile; it is seen afterwards."""
    with closing(LimitedReader(file, lambda: False)) as reader:
        with closing(sqlite3.connect(file)) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            with reader.one_state():
                assert len(reader.rows("SELECT x FROM t")) == 1
                conn.execute("INSERT INTO t VALUES ('more')")
                conn.commit()
                assert len(reader.rows("SELECT x FROM t")) == 1
        assert len(reader.rows("SELECT x FROM t")) == 2


def test_a_value_that_is_too_long_is_refused(file):
    """Read from a page or made of nothing; a question that wants it says so."""
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("INSERT INTO t VALUES (zeroblob(?))", (LONGEST + 1,))
        conn.commit()
    with closing(LimitedReader(file, lambda: False)) as reader:
        for sql in ("SELECT x FROM t", f"SELECT hex(zeroblob({LONGEST // 2 + 1}))"):
            with pytest.raises(sqlite3.DataError) as refused:
                reader.rows(sql)
            assert not reader.was_ended(refused.value)
            assert "a value longer than the limit" in str(storage_error(refused.value, file))
        assert len(reader.rows("SELECT x FROM t", longest=LONGEST_RESULT)[1][0]) == LONGEST + 1
        assert reader.rows("SELECT rowid FROM t") == [(1,), (2,)]


def test_an_answer_is_weighed(file):
    """Rows are many or large: what they take together is bounded, whatever their number."""
    with closing(LimitedReader(file, lambda: False)) as reader:
        with pytest.raises(StorageError, match="takes more than 128 MiB"):
            reader.rows(f"{ENDLESS.replace('COUNT(*)', 'zeroblob(1000000)')}")
        assert len(reader.rows("SELECT x FROM t")) == 1


def test_a_view_may_not_call_functions(file):
    """A single call is never interrupted, and may take for ever; our own questions call what they like."""
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("CREATE VIEW v AS SELECT instr(x, 'b') AS x FROM t")
        conn.execute("CREATE VIEW plain AS SELECT x FROM t")
        conn.commit()
    with closing(LimitedReader(file, lambda: False)) as reader:
        with pytest.raises(sqlite3.Error) as refused:
            reader.rows("SELECT x FROM v")
        assert not reader.was_ended(refused.value)
        assert "a view that calls functions" in str(storage_error(refused.value, file))
        assert reader.rows("SELECT length(x) FROM plain") == [(3,)]
