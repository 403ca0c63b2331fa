"""Rows of nothing but words: converted column by column, or left to whoever says what is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.data.columns import declared_columns, fit_declared
from pipeloom.data.flat import flattened, plan_for
from pipeloom.data.image import kinds_in
from pipeloom.data.rows import Shape

SHAPE = Shape("t", ("n", "x", "s", "free"), "error", ())
DECLARED = {"t": {"n": "INTEGER", "x": "REAL", "s": "TEXT"}}
PLAN = plan_for(DECLARED, SHAPE)
NOTHING: frozenset[object] = frozenset()


class Word(str):
    """A word of a class of its own."""

    __slots__ = ()


def test_words_become_what_their_columns_are_declared_as():
    flat = flattened([["1", "0.5", "007", "a"], ("-2", "3", "", "b")], PLAN, NOTHING)

    assert flat.values == [1, 0.5, "007", "a", -2, 3.0, "", "b"]
    assert flat.kinds == [{int}, {float}, {str}, {str}]
    assert flat.rows == 2
    assert type(flat.values[5]) is float


def test_what_is_to_be_null_is_null_and_is_told():
    flat = flattened([["1", "NA", "NA", ""], ["2", "NA", "x", "y"]], PLAN, frozenset({"NA", ""}))

    assert flat.values == [1, None, None, None, 2, None, "x", "y"]
    assert flat.kinds == [{int}, {type(None)}, {type(None), str}, {type(None), str}]


@pytest.mark.parametrize(
    "row",
    [
        ["x", "1", "a", "b"],  # no number
        ["", "1", "a", "b"],
        ["null", "1", "a", "b"],  # JSON's, and a word here
        ["1", "null", "a", "b"],
        [None, "1", "a", "b"],
        ["1.5", "1", "a", "b"],
        ["1e3", "1", "a", "b"],  # a number in another spelling
        ["9223372036854775808", "1", "a", "b"],
        ["1", "0.12345678901234567", "a", "b"],  # more digits than a float keeps
        ["1", "-0.0", "a", "b"],  # REAL would make it 0.0
        ["1", "1", "a"],
        ["1", "1", "a", "b", "c"],
        [1, "1", "a", "b"],
        ["1", None, "a", "b"],
        ["1", "1", None, "b"],
        ["1", "1", b"a", "b"],
        ["1", "1", "a", Word("b")],  # may be stored as something else, as an Enum is
        ["1,1", "1", "a", "b"],
        {"n": "1", "x": "1", "s": "a", "free": "b"},
        "1234",
    ],
)
def test_what_is_not_as_plain_as_that_is_looked_at(row):
    assert flattened([["1", "1", "a", "b"], row], PLAN, NOTHING) is None


def test_a_value_that_cannot_be_looked_up_is_looked_at():
    assert flattened([[["1"], "1", "a", "b"]], PLAN, frozenset({"NA"})) is None


def test_a_column_that_takes_no_words_has_no_plan():
    """SQLite would make something else of them, or each has to be looked at."""
    assert plan_for({"t": {"n": "NUMERIC"}}, SHAPE) is None
    assert plan_for({"t": {"s": "BLOB"}}, SHAPE) is not None
    assert plan_for({}, SHAPE).integers == []


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1).map(str),
            st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers(-99, 99).map(str),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.sampled_from(["", "NA", "x"]),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([NOTHING, frozenset({"NA"})]),
)
def test_it_is_what_the_longer_way_makes_of_them(rows, absent):
    """Where it is not left to that."""
    flat = flattened(rows, PLAN, absent)
    if flat is None:
        return
    without = [tuple(None if value in absent else value for value in row) for row in rows]
    fitted, kinds = fit_declared(declared_columns(DECLARED, SHAPE), without, kinds_in(without))

    assert flat.values == [value for row in fitted for value in row]
    assert list(map(type, flat.values)) == [type(value) for row in fitted for value in row]
    assert flat.kinds == kinds
