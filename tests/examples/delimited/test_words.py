"""Words become numbers that are exactly what they say, or stay what they are."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeloom.examples.delimited.words import Guess, kind_of_column, loses_nothing

MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("int", "7", 7),
        ("int", " -7 ", -7),
        ("int", "007", 7),
        ("int", "+7", 7),
        ("int", str(MAX), MAX),
        ("int", str(-MAX - 1), -MAX - 1),
        ("float", "2.50", 2.5),
        ("float", "1e3", 1000.0),
        ("float", "0.30000000000000004", 0.1 + 0.2),
        ("float", "0.10000000000000001", 0.1),
        ("float", "9007199254740992", 2.0**53),
        ("float", "0.1000000000000000000000", 0.1),
        ("float", "0e999", 0.0),
        ("number", "7", 7),
        ("number", "1.5", 1.5),
        ("number", "2024-05-01", "2024-05-01"),
        ("number", "0x10", "0x10"),
    ],
)
def test_exact_words_become_values(kind, word, value):
    """Of the declared type."""
    found = loses_nothing(kind)(word)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "word", "said"),
    [
        ("int", "abc", "is not int"),
        ("int", "7.0", "is not int"),
        ("int", "1_0", "is not int"),
        ("int", "٣", "is not int"),
        ("int", "12345678901234567890", "does not fit an int of 64 bits"),
        ("int", "9" * 100_000, "does not fit"),
        ("int", str(MAX + 1), "does not fit"),
        ("float", "1e400", "cannot be kept exactly"),
        ("float", "1e-400", "cannot be kept exactly"),
        ("float", "0.1234567890123456789", "cannot be kept exactly"),
        ("float", "9007199254740993", "cannot be kept exactly"),
        ("float", "9" * 100_000, "cannot be kept exactly"),
        ("float", "nan", "is not float"),
        ("float", "inf", "is not float"),
        ("float", "0x1p3", "is not float"),
        ("float", "1,5", "is not float"),
        ("number", "12345678901234567890", "does not fit"),
        ("number", "1e400", "cannot be kept exactly"),
    ],
)
def test_what_would_come_back_as_another_value_is_refused(kind, word, said):
    """With the reason."""
    with pytest.raises(ValueError, match=said):
        loses_nothing(kind)(word)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_however_it_was_written(value):
    """Shortest, or with 17 digits."""
    assert loses_nothing("float")(repr(value)) == value
    assert loses_nothing("float")(format(value, ".17g")) == value


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["1", "-2", "", "0"], "int"),
        (["1", "2.5", "0.0"], "float"),
        (["999999999999999"], "int"),
        (["1234567890123456"], "text"),
        (["0.123456789012345"], "text"),
        (["1", "x"], "text"),
        (["", ""], "text"),
        ([], "text"),
        *[
            ([word, "1"], "text")
            for word in ("007", "+1", "1e3", "-0", "-0.0", "nan", "inf", "0x1", "1_0", "٣", " 1")
        ],
        *[([word, "1"], "text") for word in (".5", "5.", "00.5", "1\n", "1,5")],
    ],
)
def test_a_guess_is_the_same_in_any_order_and_parts(words, kind):
    """A number only where no word loses anything."""
    for order in permutations(words):
        whole, joined = Guess(), Guess()
        whole.see(order)
        for word in order:
            part = Guess()
            part.see([word])
            joined.join(part)
        assert (whole.kind, joined.kind) == (kind, kind)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("INTEGER", "int"),
        ("unsigned big int", "int"),
        ("VARCHAR(10)", "text"),
        ("CHARINT", "int"),
        ("", None),
        ("BLOB", None),
        ("DOUBLE PRECISION", "float"),
        ("DECIMAL(10,5)", "number"),
        ("DATE", "number"),
        ("ANY", "number"),
    ],
)
def test_the_kind_of_an_existing_column_is_its_affinity(declared, kind):
    """As SQLite determines it."""
    assert kind_of_column(declared) == kind


def test_any_takes_anything_in_a_strict_table_only():
    """There it has no affinity."""
    assert kind_of_column("ANY", is_strict=True) is None
