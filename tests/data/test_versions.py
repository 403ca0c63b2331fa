"""The version of an input as it is stored."""

from __future__ import annotations

import math
from enum import Enum, IntEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeloom.data.versions import stored_version

PARTS = st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
VALUES = st.one_of(
    st.text(), st.integers(), st.floats(allow_nan=False), st.recursive(PARTS, lambda of: st.tuples(of, of))
).filter(lambda value: value is not None and not isinstance(value, bool))


class Size(IntEnum):
    """A number with a name."""

    LARGE = 3


class Tag(str, Enum):  # noqa: UP042 - as old programs have it
    """A text with a name."""

    NEW = "new"


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("etag", "etag"), (7, 7), (0.5, 0.5), (math.inf, math.inf), (1 << 63, "0x8000000000000000"),
        ((1, "a", 2.5), '[1,"a",2.5]'), ([1, [None, True]], "[1,[null,true]]"), ((), "[]"), (Size.LARGE, 3),
        (Tag.NEW, "new"),
    ],
)  # fmt: skip
def test_what_is_stored(value, stored):
    """Text and numbers as they are, compounds as JSON."""
    found = stored_version(value)
    assert found == stored
    assert type(found) is type(stored)


@given(VALUES)
def test_everything_that_is_stored_is_small_and_the_same_each_time(value):
    """SQLite can hold it, and it takes no more room than a key."""
    found = stored_version(value)
    assert found == stored_version(value)
    assert len(str(found).encode()) <= 4 * 512
    assert not isinstance(found, int) or -(1 << 63) <= found < 1 << 63


def test_long_and_strange_texts_differ_still():
    """They are told by their digests."""
    texts = ["x" * 600, "x" * 600 + "y", "\ud800", "\udc00", "?"]
    assert len({stored_version(text) for text in texts}) == len(texts)


def test_scalars_of_numpy_are_what_they_hold():
    """Such as a column of hashes."""
    numpy = pytest.importorskip("numpy")
    assert stored_version(numpy.int64(5)) == 5
    assert stored_version((numpy.float32(0.5), numpy.str_("a"))) == '[0.5,"a"]'


def itself():
    """Return a list that contains itself."""
    found: list[object] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "None cannot serve as a version"), (True, "True cannot serve as a version"), (math.nan, "NaN"),
        ((1, math.nan), "NaN"),
        (b"x", "type bytes"), ({"a": 1}, "type dict"), (Path("x"), "Path"), (object(), "type object"),
        ((1, b"x"), "type bytes"), (itself(), "itself"),
    ],
)  # fmt: skip
def test_what_is_no_version_is_refused(value, why):
    """In words."""
    with pytest.raises(ValueError, match=why):
        stored_version(value)
