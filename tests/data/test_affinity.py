"""What a column's type does to values: converts, and loses nothing."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeloom.data.affinity import MisfitError, affinity_of, are_numbers, common_type, fitted

TYPES = (
    "INTEGER", "INT", "BIGINT", "UNSIGNED BIG INT", "POINT", "TEXT", "VARCHAR(20)", "CLOB", "CHARINT", "BLOB", "",
    "REAL", "DOUBLE PRECISION", "FLOAT", "NUMERIC", "DECIMAL(10,2)", "BOOLEAN", "DATE", "DATETIME", "STRING", "ANY",
    "integer", "\N{LATIN SMALL LETTER DOTLESS I}NT", "\N{LATIN SMALL LIGATURE FL}OA",
)  # fmt: skip
PROBES = ("7", 7, 7.5, b"x", "x", 7.0)


@pytest.mark.parametrize("declared", TYPES)
def test_an_affinity_is_the_one_that_sqlite_has(declared):
    """Asked of SQLite: what five values are in a column of that type."""
    names = {"INTEGER": "INTEGER", "REAL": "REAL", "NUMERIC": "NUMERIC", "TEXT": "TEXT", "BLOB": "BLOB"}
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute(f"CREATE TABLE t (a {declared}, b {names[affinity_of(declared)]})")
        conn.executemany("INSERT INTO t VALUES (?, ?)", [(value, value) for value in PROBES])
        assert conn.execute("SELECT * FROM t WHERE typeof(a) <> typeof(b)").fetchall() == []


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ((1, None, 2), "INTEGER"),
        ((1.5, math.nan), "REAL"),
        (("x", math.nan), "TEXT"),
        ((1, 1.5), ""),
        ((b"x", "x"), ""),
        ((None, math.nan), None),
        ((), None),
    ],
    ids=repr,
)
def test_the_type_that_values_share(values, kind):
    """NaN is NULL, which has none."""
    assert common_type(map(type, values), values) == kind


EXACT = [
    ("INTEGER", "7", 7), ("INTEGER", " +007 ", 7), ("INTEGER", "-0", 0), ("INTEGER", "1e3", 1000),
    ("INTEGER", "7.0", 7),
    ("INTEGER", "9223372036854775807", 2**63 - 1), ("INTEGER", "-9223372036854775808", -(2**63)),
    ("INTEGER", 5.0, 5), ("INTEGER", math.nan, None), ("INTEGER", None, None),
    ("REAL", "0.1", 0.1), ("REAL", "7", 7.0), ("REAL", 7, 7.0), ("REAL", 2**60, float(2**60)),
    ("REAL", "1e23", 1e23),
    ("REAL", "0.10000000000000000555", 0.1), ("REAL", ".5", 0.5), ("REAL", "5.", 5.0), ("REAL", "5e-324", 5e-324),
    ("TEXT", 0.1 + 0.2, "0.30000000000000004"), ("TEXT", 7, "7"), ("TEXT", math.nan, None), ("TEXT", b"x", b"x"),
    ("BLOB", 0.1, 0.1), ("BLOB", "7", "7"),
]  # fmt: skip


@pytest.mark.parametrize(("affinity", "value", "stored"), EXACT, ids=repr)
def test_a_declared_type_converts_exactly(affinity, value, stored):
    """Alone and among others."""
    assert fitted((value,), affinity, declared=True)[0] == stored
    among = fitted((value, None, value), affinity, declared=True)
    assert among == [stored, None, stored]
    assert type(among[0]) is type(stored)


WRONG = [
    ("INTEGER", "abc"), ("INTEGER", ""), ("INTEGER", "1.5"), ("INTEGER", 1.5), ("INTEGER", "9223372036854775808"),
    ("INTEGER", "1e30"), ("INTEGER", "1_000"), ("INTEGER", "\u0663"), ("INTEGER", "1,2"), ("INTEGER", "null"),
    ("INTEGER", "0x10"), ("INTEGER", b"7"), ("INTEGER", "[1]"), ("INTEGER", "9007199254740993.5"),
    ("INTEGER", 1e300),
    ("INTEGER", "true"), ("INTEGER", "9" * 5000), ("INTEGER", "1e999999999"), ("INTEGER", math.inf),
    ("REAL", "abc"), ("REAL", ""), ("REAL", "nan"), ("REAL", "inf"), ("REAL", "1e400"), ("REAL", "1e-400"),
    ("REAL", "9007199254740993"), ("REAL", 2**53 + 1), ("REAL", "0.1234567890123456789"), ("REAL", b"1.5"),
    ("REAL", "1_0.5"), ("REAL", f"1e{10**20}"), ("REAL", f"1e-{10**20}"), ("INTEGER", f"1e{10**20}"),
]  # fmt: skip


@pytest.mark.parametrize(("affinity", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_what_would_lose_something_does_not_fit(affinity, value):
    """Alone and among others; the sentence shows the value."""
    for values in ((value,), ("7", value, "8")):
        with pytest.raises(MisfitError) as caught:
            fitted(values, affinity, declared=True)
        assert repr(value)[:20] in str(caught.value) or str(value) in str(caught.value)


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A[+-]?[0-9]{1,22}(\.[0-9]{0,22})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.text(max_size=8),
)


WORDS = st.one_of(NUMBERS, st.integers(-999, 999).map(str), st.sampled_from(["null", "1,2", "[1]", " 7", "-0"]))


@given(
    st.lists(st.one_of(st.none(), WORDS, st.integers(-(2**63), 2**63 - 1).map(str)), min_size=1, max_size=6),
    st.sampled_from(["INTEGER", "REAL"]),
)
def test_words_that_are_taken_for_numbers_are_read_so_by_sqlite(words, affinity):
    """The short way says yes only where the long one finds the same, and SQLite reads just that."""
    if not are_numbers(words, affinity):
        return
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute(f"CREATE TABLE t (n {affinity})")
        conn.executemany("INSERT INTO t VALUES (?)", [(word,) for word in words])
        read = [value for (value,) in conn.execute("SELECT n FROM t ORDER BY rowid")]
    assert read == fitted(words, affinity, declared=True)
    kind = int if affinity == "INTEGER" else float
    assert all(value is None or type(value) is kind for value in read)


def test_plain_numbers_go_the_short_way():
    """Or every CSV file would take the long one."""
    assert are_numbers(["1", "-2", "30", None, str(2**63 - 1)], "INTEGER")
    assert are_numbers(["1", "-2.5", None, "0.1"], "REAL")
    for affinity in ("INTEGER", "REAL"):
        assert not are_numbers(["1", "x"], affinity)


ANY = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), NUMBERS, st.binary(max_size=4)
)


@given(ANY, st.sampled_from(TYPES))
def test_in_a_table_of_the_users_own_nothing_is_lost(value, declared):
    """What SQLite makes of a value there is the same number, or the same text, or it is refused."""
    try:
        (given_to_sqlite,) = fitted((value,), affinity_of(declared), declared=False)
        text = None if given_to_sqlite is None else str(given_to_sqlite)
        (text or "").encode()
    except (MisfitError, UnicodeEncodeError):
        return
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute(f"CREATE TABLE t (a {declared})")
        conn.execute("INSERT INTO t VALUES (?)", (given_to_sqlite,))
        ((stored,),) = conn.execute("SELECT a FROM t").fetchall()
    if type(stored) is type(value):
        assert stored == value
    elif isinstance(value, str):
        assert float(value) == stored
        if isinstance(stored, int):
            assert "." in value or "e" in value.lower() or int(value) == stored
    elif isinstance(stored, str):
        assert stored == (repr(value) if isinstance(value, float) else str(value))
    else:
        assert stored == value
