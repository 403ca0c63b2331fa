"""What a Python value becomes in a column, and what is refused in which words."""

from __future__ import annotations

import json
import re
import sqlite3
from array import array
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.data.values import adapt, adapt_params, adapt_rows, as_json, explain_unbindable, sql_type
from pipeloom.errors import RowRefusedError

property_test = settings(database=None, deadline=None, max_examples=100)


class Colour(Enum):
    RED = "red"
    DEEP = {"r": 1}
    NONE = None
    ODD = object()


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Bits(Flag):
    BOTH = 3


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Scalar:
    """Looks like a scalar of numpy: no dimensions, and an ``item``."""

    ndim = 0

    def __init__(self, value):
        self._value = value

    def item(self):
        """Return the Python value; ``numpy.longdouble`` returns itself, since Python has no type for it."""
        return self if self._value is Scalar else self._value


class Array(Scalar):
    """Looks like an array of numpy that happens to hold one value."""

    ndim = 1


class Hostile:
    """Fails whatever is asked of it, even by isinstance, like a proxy of a web framework outside of a request."""

    def __getattribute__(self, name):
        raise RuntimeError(f"{name}: working outside of request context")


def stored(value):
    """Put what ``adapt`` returns through SQLite."""
    with closing(sqlite3.connect(":memory:")) as conn:
        return conn.execute("SELECT ?", (adapt(value),)).fetchone()[0]


VALUES = [
    (None, None),
    (0, 0),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (1.5, 1.5),
    (float("inf"), float("inf")),
    (float("nan"), None),
    ("text", "text"),
    ("a\0b", "a\0b"),
    (b"\x00\xff", b"\x00\xff"),
    (True, 1),
    (False, 0),
    (date(2026, 1, 31), "2026-01-31"),
    (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
    (time(12, 30), "12:30:00"),
    (Decimal("1.10"), "1.10"),
    (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Path("a/b"), "a/b"),
    (PurePosixPath("a/b"), "a/b"),
    (Colour.RED, "red"),
    (Colour.DEEP, '{"r":1}'),
    (Colour.NONE, None),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Bits.BOTH, 3),
    ({"a": [1, None, "x"]}, '{"a":[1,null,"x"]}'),
    ([], "[]"),
    (bytearray(b"x"), b"x"),
    (memoryview(b"x"), b"x"),
    (Text("t"), "t"),
    (Number(7), 7),
    (Real(1.5), 1.5),
    (Scalar(7), 7),
    (Scalar(True), 1),
    (Scalar(date(2026, 1, 31)), "2026-01-31"),
    (Scalar(float("nan")), None),
    (Real("nan"), None),
    (Decimal("NaN"), None),
    (Decimal("sNaN"), None),
    (Decimal("-1E+5"), "-1E+5"),
    (Decimal("Infinity"), "Infinity"),
    (date(5, 1, 1), "0005-01-01"),
    (datetime(2026, 1, 31, 0, 0, 0, 5, UTC), "2026-01-31T00:00:00.000005+00:00"),
    (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), "2026-10-25T02:30:00+01:00"),
    (timedelta(days=1, microseconds=-1), 86_399.999999),
    (memoryview(array("H", [1, 2])), array("H", [1, 2]).tobytes()),
    (memoryview(b"abcd")[::2], b"ac"),
    (PureWindowsPath("a/b"), "a\\b"),
]


def test_a_value_becomes_what_the_table_says():
    """Exact types, as SQLite gives them back."""
    for value, expected in VALUES:
        got = stored(value)
        assert (value, got, type(got)) == (value, expected, type(expected))


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        (1, 2),
        1j,
        2**63,
        -(2**63) - 1,
        Number(2**70),
        Colour.ODD,
        Scalar(object()),
        Scalar(2**70),
        Array(1),
        len,
        int,
        {"a": object()},
        [{"deep": {1j}}],
        "\ud800",
        Text("a\udcff"),
        Path("a\udcff"),
        Fraction(1, 3),
        ip_address("192.0.2.1"),
        array("i", [1]),
        range(3),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", repr(value)),
)
def test_what_is_no_value_is_refused(value):
    """With a ValueError, whatever it is."""
    with pytest.raises(ValueError, match=r"."):
        adapt(value)


def test_a_container_that_holds_itself_is_refused():
    """Rather than exhaust the stack."""
    ring: list[object] = []
    ring.append({"again": ring})

    for value in (ring, ring[0]):
        with pytest.raises(ValueError, match="contains itself"):
            adapt(value)


def test_a_scalar_that_is_its_own_item_is_refused():
    """``numpy.longdouble(1).item()`` is a longdouble again."""
    with pytest.raises(ValueError, match="Scalar"):
        adapt(Scalar(Scalar))
    with pytest.raises(ValueError, match="JSON"):
        as_json([Scalar(Scalar)])


@given(st.integers() | st.floats() | st.text(st.characters()) | st.binary() | st.booleans() | st.none())
@property_test
def test_plain_values_come_back_or_are_refused(value):
    """Nothing is stored as something else: NaN is NULL, an int fits or is refused, and so is a lone surrogate."""
    try:
        got = stored(value)
    except ValueError:  # of which UnicodeEncodeError is one
        assert (isinstance(value, int) and abs(value) >= 2**63) or any("\ud800" <= c <= "\udfff" for c in value)
    else:
        assert got == (None if value != value else value)  # noqa: PLR0124 - NaN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(json_values)
@property_test
def test_json_comes_back(value):
    """``as_json`` loses nothing that JSON can say."""
    assert json.loads(as_json(value)) == value


def test_what_is_not_json_is_a_value_error():
    """Also when the object itself fails to be looked at."""
    for value in (object(), {"a": object()}, 1j, {(1, 2): 3}, ["\ud800"], Hostile(), [Hostile()]):
        with pytest.raises(ValueError, match=r"."):
            as_json(value)


# --- rows ---


BAD = {
    object: "object",
    set: "set",
    lambda: 2**70: "64 bits",
    lambda: Scalar(Scalar): "Scalar",
    lambda: ([1],): "tuple",
}


@pytest.mark.parametrize(("make", "words"), [*BAD.items(), (Hostile, "Hostile")], ids=[*BAD.values(), "hostile"])
@pytest.mark.parametrize("null", [None, frozenset({"NA"})], ids=["", "null"])
def test_a_refusal_names_table_column_and_type(make, words, null):
    """With ``null=`` as without; foreign names are shown harmlessly."""
    rows = [(1, "fine"), (2, make())]
    with pytest.raises(RowRefusedError, match="flights") as refused:
        adapt_rows(rows, "flights\x1b", ("n", "bad\x1b"), null)

    assert words in str(refused.value)
    assert r"bad\x1b" in str(refused.value)
    assert str(refused.value).isprintable()


def test_plain_rows_are_not_copied_again():
    """The common case costs one look at the types; one row or many."""
    rows = [(1, "a", 1.5, b"x", None), (-(2**63), "\xe4", 0.0, b"", None), (2**63 - 1, None, None, None, None)]

    for some in (rows, rows[:1], rows * 2000):
        assert adapt_rows(some, "t", tuple("abcde"), None) is some


@pytest.mark.parametrize("odd", [2**63, -(2**63) - 1, "\udcff"], ids=ascii)
@pytest.mark.parametrize("others", [[], [None], [None, 0], [1.5, "x"]], ids=repr)
def test_a_plain_value_that_cannot_be_stored_is_found_at_the_call(odd, others):
    """Wherever it stands, and whatever else is in its column."""
    rows = [(n, other) for n, other in enumerate([*others, odd, *others])]

    with pytest.raises(RowRefusedError, match=r"table t, column odd: .*(64 bits|surrogate)"):
        adapt_rows(rows, "t", ("n", "odd"), None)


def test_a_column_of_text_with_nan_is_text():
    """NaN is NULL before anybody asks what kind of values there are."""
    rows = [("a", 1.5), (float("nan"), float("nan")), (None, 2.5)]

    assert adapt_rows(rows, "t", tuple("ab"), None) == [("a", 1.5), (None, None), (None, 2.5)]
    assert adapt_rows(rows[1:2], "t", tuple("ab"), None) == [(None, None)]


def test_one_odd_value_is_adapted_among_many_plain_ones():
    """In its place; the others stay."""
    rows = [(n, "x") for n in range(5000)]
    rows[2057] = (True, date(2026, 1, 31))

    adapted = adapt_rows(rows, "t", ("n", "s"), None)
    assert adapted[2057] == (1, "2026-01-31")
    assert type(adapted[2057][0]) is int
    assert adapted[:2057] + adapted[2058:] == rows[:2057] + rows[2058:]


def test_null_values_become_null():
    """Equal values only, beside values that cannot be hashed."""
    rows = [("", "NA", "N"), ("x", [1], {"a": ""}), (0, None, "NA ")]

    assert adapt_rows(rows, "t", tuple("abc"), frozenset({"", "NA"})) == [
        (None, None, "N"),
        ("x", "[1]", '{"a":""}'),
        (0, None, "NA "),
    ]


def test_a_value_over_sqlites_limit_is_found_behind_its_back():
    """Its type is fine, so SQLite is the one that refuses; the sentence says where it was."""

    class Long(bytes):
        def __len__(self):
            return 1_000_000_000

    reason = explain_unbindable([("fine", 1), (Long(), 2)], "t", ("bytes", "n"))

    assert reason is not None
    assert all(word in reason for word in ("table t", "column bytes", "limit"))
    assert explain_unbindable([("fine", 1)], "t", ("text", "n")) is None


# --- parameters ---


def test_parameters_are_adapted_and_copied():
    """By position or by name; what the caller changes afterwards stays out."""
    given_list, given_dict = [True, date(2026, 1, 31)], {"d": Decimal("1.1")}
    by_position, by_name = adapt_params(given_list), adapt_params(given_dict)
    given_list.append(1)
    given_dict["d"] = 2

    assert by_position == (1, "2026-01-31")
    assert by_name == {"d": "1.1"}
    assert adapt_params(()) == ()


def test_what_are_no_parameters_is_refused():
    """A string above all: it would be taken letter by letter."""
    for params in ("text", 7, None, {1, 2}, iter([1])):
        with pytest.raises(RowRefusedError, match=f"not {type(params).__name__}"):
            adapt_params(params)


@pytest.mark.parametrize(("params", "name"), [((1, object()), "2"), ({"when": object()}, "when")])
def test_a_refused_parameter_is_named(params, name):
    """By position from 1, as in SQLite, or by name."""
    with pytest.raises(RowRefusedError, match=f"parameter {name}: .*object"):
        adapt_params(params)


# --- declared types ---


def test_a_declared_type_has_an_sql_type():
    """``None`` declares a column without one."""
    numbers = {int: "INTEGER", bool: "INTEGER", float: "REAL", timedelta: "REAL", bytes: "BLOB", None: ""}
    texts = dict.fromkeys((str, date, datetime, time, Decimal, UUID, Path, PurePosixPath, dict, list), "TEXT")

    for declared, sql in {**numbers, **texts}.items():
        assert (declared, sql_type(declared)) == (declared, sql)


def test_other_types_cannot_be_declared():
    """The sentence lists those that can."""
    for declared in (object, set, "INTEGER", int | None, [], 7, "\x1b[2J"):
        with pytest.raises(ValueError, match="is not a column type: use int, float") as refused:
            sql_type(declared)
        assert str(refused.value).isprintable()
