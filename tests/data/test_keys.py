"""Identity: what makes a task the same task in the next run, and never another one."""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from contextlib import closing
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path, PurePath
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.data.keys import identity_of, key_of, known_as

property_test = settings(database=None, deadline=None, max_examples=100)


@dataclasses.dataclass(frozen=True)
class Point:
    x: object
    y: object


@dataclasses.dataclass(frozen=True)
class Vector:
    x: object
    y: object


@dataclasses.dataclass(frozen=True)
class Place:
    here: object
    there: object


text = st.text(st.characters(), max_size=20) | st.sampled_from(
    [
        "",
        "1",
        "1.5",
        "None",
        "True",
        "[]",
        "path:a",
        "str:a",
        "str:str:a",
        "json:x",
        "date:2026-01-31",
        "int:1",
        "a/b",
    ]
)
numbers = st.integers() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.booleans() | st.none()
paths = st.text(st.characters(exclude_characters="\0"), max_size=8).map(PurePath)
instants = st.dates() | st.datetimes() | st.datetimes(timezones=st.just(timezone(timedelta(hours=2))))
scalars = text | numbers | paths | instants | st.uuids()
hashable = st.recursive(scalars, lambda inner: st.tuples(inner) | st.tuples(inner, inner), max_leaves=3)
inputs = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.builds(Point, inner, inner)
        | st.builds(Vector, inner, inner)
        | st.builds(Place, inner, inner)
    ),
    max_leaves=6,
)


# What has a key of its own: not a bare float, bool or None, though these may be parts of it.
keyed = inputs.filter(lambda item: not isinstance(item, float | bool | None))


def same(one, other):
    """Say whether two inputs are one: of equal types all the way down, and of equal values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        pairs = [(k, v) for k, v in other.items()]
        return len(one) == len(other) and all(
            any(same(key, k) and same(value, v) for k, v in pairs) for key, value in one.items()
        )
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, float):
        return repr(one) == repr(other)  # 0.0 is not -0.0
    if isinstance(one, datetime):
        return one.isoformat() == other.isoformat()  # an instant in another zone is another text
    return one == other


@given(keyed, keyed)
@property_test
def test_two_inputs_share_a_key_only_when_they_are_one(one, other):
    """Neither types nor values collide, at any depth."""
    assert (key_of(one) == key_of(other) and type(key_of(one)) is type(key_of(other))) == same(one, other)


@given(keyed)
@property_test
def test_a_key_is_stable_short_and_storable(value):
    """The same from any equal input; an int or at most 512 characters; SQLite gives it back as it was."""
    key = key_of(value)

    assert key == key_of(value)
    assert type(key) in (int, str)
    assert len(str(key)) <= 512
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE t (key)")
        conn.execute("INSERT INTO t VALUES (?)", (key,))
        ((stored,),) = conn.execute("SELECT key FROM t WHERE key = ?", (key,)).fetchall()
    assert stored == key
    assert type(stored) is type(key)


@given(keyed)
@property_test
def test_a_stored_key_as_an_input_is_another_task(value):
    """Unless it is stored as it is: the text that a key looks like never takes the place of what it stands for."""
    key = key_of(value)

    assert key_of(key) != key or same(key, value)


PLAIN = [
    (7, 7),
    (-(2**63), -(2**63)),
    (2**63 - 1, 2**63 - 1),
    (2**63, "int:9223372036854775808"),
    ("a/b", "a/b"),
    ("", ""),
    ("7", "7"),
    ("path:a", "str:path:a"),
    ("str:a", "str:str:a"),
    ("pathology: none", "pathology: none"),
    (Path("a/b"), "path:a/b"),
    (date(2026, 1, 31), "date:2026-01-31"),
    (datetime(2026, 1, 31, 12), "datetime:2026-01-31T12:00:00"),  # noqa: DTZ001 - a key of a user's may be naive
    (UUID(int=5), "uuid:00000000-0000-0000-0000-000000000005"),
]


def test_plain_inputs_are_their_own_key():
    """Readable in the ledger; other types than int and str say which they were."""
    assert [(value, key_of(value)) for value, _ in PLAIN] == PLAIN


def test_compound_inputs_are_a_digest_of_their_content():
    """Equal content gives one key, whatever the order of a dict was."""
    assert re.fullmatch("json:[0-9a-f]{64}", key_of(("a", 1)))
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})
    assert len({key_of(v) for v in (("a", 1), ["a", 1], {"a": 1}, ("a", "1"), ("a", 1.0), ("a", True))}) == 6
    assert key_of((Path("a"),)) != key_of(("path:a",))
    assert key_of(Point(1, 2)) not in (key_of(Vector(1, 2)), key_of(Point(2, 1)), key_of({"x": 1, "y": 2}))


def test_a_key_does_not_change_between_versions():
    """A digest that changed would run everything again: these are what earlier runs have stored."""
    assert key_of(("a", 1, None, 1.5, True)) == (
        "json:4558290c097328e2cabffa759b1eba690ede182d935d6e2ca5144e6a5b3ed9a8"
    )


def test_long_text_is_a_prefix_and_a_digest():
    """Short enough to index, still readable, and different texts with one beginning stay apart."""
    one, other = key_of("x" * 512 + "a"), key_of("x" * 512 + "b")

    assert one != other
    assert one.startswith("xxxx")
    assert len(one) <= 512
    assert re.search("sha256:[0-9a-f]{64}$", one)
    assert key_of("x" * 512) == "x" * 512
    assert key_of(Path("p" * 600)).startswith("path:ppp")


@given(keyed)
@property_test
def test_an_input_comes_back_from_what_is_stored_of_it(value):
    """Equal, of the same types all the way down; a dataclass is one again."""
    again = known_as(*identity_of(value))

    assert again == value
    assert identity_of(again) == identity_of(value)


@pytest.mark.parametrize(
    "value", ["x" * 600, Path("p" * 600), "\ud800", "path:" + "x" * 600, 10**600, -(10**5000)], ids=range(6)
)
def test_so_does_one_whose_key_was_shortened(value):
    """Its whole text is stored beside the key."""
    key, kept = identity_of(value)

    assert len(key) <= 512
    assert known_as(key, kept) == value


def test_what_is_stored_of_an_input_is_bounded():
    """Of a large one only its key, which then stands for it."""
    for value in (["x" * 70_000], "x" * 70_000):
        key, kept = identity_of(value)
        assert kept is None
        assert known_as(key) == key


def test_a_dataclass_that_cannot_be_found_is_a_dict_of_its_fields():
    """One that is local to a function, or that has other fields by now."""

    @dataclasses.dataclass(frozen=True)
    class Local:
        n: int

    key, kept = identity_of(Point(1, "b"))

    assert known_as(*identity_of(Local(1))) == {"n": 1}
    assert known_as(key, kept.replace('"x"', '"z"')) == {"z": 1, "y": "b"}
    assert known_as(key, kept.replace(__name__, "no.such.module")) == {"x": 1, "y": "b"}


@pytest.mark.parametrize("key", ["date:yesterday", "int:many", "uuid:1", "json:abc", 1.5])
@pytest.mark.parametrize("kept", [None, "{", "{}", '{"": 1}', '{"": "tuple", "of": 1}', '{"": "x.y", "of": [[]]}'])
def test_what_others_wrote_into_the_file_is_the_stored_key(key, kept):
    """Nothing is raised for it."""
    assert known_as(key, kept) == key


def test_text_that_looks_like_a_shortened_key_is_another_task():
    """Such as one that was copied from the ledger."""
    long, broken = "x" * 600, "\ud800"

    assert key_of(key_of(long)) != key_of(long)
    assert key_of(key_of(broken)) != key_of(broken)


def test_lone_surrogates_have_a_key_that_can_be_stored():
    """File names that are not UTF-8 come as such text."""
    names = ["a\udcff", "a\udcfe", "a\\udcff", Path("a\udcff")]

    assert len({key_of(name) for name in names}) == 4
    for name in names:
        key_of(name).encode()


def cyclic_list():
    """Return a list that contains itself."""
    ring = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", time(1), (1, object()), {"a": {1}}, Point(1, b""), Point, len, 1j, cyclic_list()],
    ids=lambda value: type(value).__name__,
)
def test_other_inputs_cannot_serve_as_a_key(value):
    """The sentence names the type that is at fault, also when it is deep inside."""
    with pytest.raises(ValueError, match="cannot serve as a key"):
        key_of(value)


@pytest.mark.parametrize("item", [None, True, 1.5, b"x", {1}, object()], ids=lambda item: type(item).__name__)
def test_other_inputs_have_no_key_of_their_own(item):
    """It is for the caller to say what identifies them."""
    with pytest.raises(ValueError, match=f"type {type(item).__name__} cannot serve as a key"):
        key_of(item)
