"""Inputs as text: what comes back is what was given, and what would not be is refused."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import sys
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from uuid import UUID

import pytest

from pipeloom.data.items import item_from, kept_item
from pipeloom.data.keys import identity_of


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    url: str
    depth: int = 0


@dataclasses.dataclass
class Tree:
    left: object
    right: object

    def __post_init__(self):
        raise AssertionError("its code is not called")

    @classmethod
    def of(cls, left, right):
        tree = object.__new__(cls)
        tree.left, tree.right = left, right
        return tree

    @dataclasses.dataclass
    class Leaf:
        value: object


@dataclasses.dataclass
class Text(str):  # noqa: SLOT000 - a dataclass that has slots could not have a default
    n: int = 0


class Colour(enum.StrEnum):
    RED = "red"


class Number(int):
    pass


class Pair(NamedTuple):
    a: int
    b: int


ITEMS = [
    "https://example.org/?q=é😀\0\n",
    "\ud800 and a\udcff",
    "path:a",
    "str:1",
    "",
    0,
    -1,
    2**63,
    -(2**63),
    10**5000,
    -(10**5000),
    0.1 + 0.2,
    -0.0,
    1e400,
    None,
    True,
    False,
    Path("a/b"),
    Path("a\udcff"),
    UUID(int=7),
    date(2026, 1, 31),
    datetime(2026, 1, 31, 12, 0, 0, 7),  # noqa: DTZ001 - as many have it
    datetime(2026, 1, 31, tzinfo=UTC),
    datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    (),
    [],
    {},
    ("a", (1, ("b",), [2, [Path("c")]]), {}),
    [None, True, 1.5, "x"],
    {"": "tuple", "of": [1]},
    {"b": 1, "a": 2},
    {1: "one", "1": "text", (1, 2): "pair", None: 0, date(2026, 1, 1): {"x": ()}},
    Page("https://example.org/", 3),
    (Page("a"), [Page("b", 10**30)]),
    Tree.of(Tree.Leaf(1), {"x": Tree.of(None, ("y",))}),
]


def types_of(value):
    """Return the types of a value and all that it is made of, in its order."""
    if isinstance(value, tuple | list):
        return [type(value), *map(types_of, value)]
    if isinstance(value, dict):
        return [dict, *[(name, types_of(name), types_of(part)) for name, part in value.items()]]
    if dataclasses.is_dataclass(value):
        return [type(value), *[types_of(getattr(value, field.name)) for field in dataclasses.fields(value)]]
    return type(value)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{type(item).__name__}-{len(kept_item(item))}")
def test_it_comes_back_as_it_was(item):
    """With its types, and dicts in their order; SQLite can store it."""
    text = kept_item(item)

    found = item_from(text)

    assert text.isascii()
    assert found == item
    assert types_of(found) == types_of(item)
    assert math.copysign(1, found) == math.copysign(1, item) if isinstance(item, float) else True
    assert kept_item(found) == text
    assert item is None or isinstance(item, bool | float) or identity_of(found) == identity_of(item)


def test_what_is_no_number_does_too():
    """It is unequal to itself."""
    assert math.isnan(item_from(kept_item((1, math.nan)))[1])


def test_a_class_of_the_program_itself_is_found_however_that_was_started(monkeypatch):
    """As a script it is ``__main__``, and a worker process knows that by another name."""
    here = sys.modules[__name__]
    monkeypatch.setattr(Page, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", here)
    as_script = kept_item(Page("a"))
    monkeypatch.setattr(Page, "__module__", "__mp_main__")
    monkeypatch.setitem(sys.modules, "__mp_main__", here)
    as_worker = kept_item(Page("a"))
    monkeypatch.delitem(sys.modules, "__mp_main__")

    assert as_script == as_worker
    assert "__main__" not in as_script
    assert item_from(as_script) == Page("a")
    monkeypatch.delitem(sys.modules, "__main__")
    monkeypatch.setitem(sys.modules, json.loads(as_script)["in"], here)
    assert item_from(as_script) == Page("a")


def local():
    """Return an object of a dataclass that is defined here."""

    @dataclasses.dataclass
    class Local:
        n: int

    return Local(1)


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (b"x", "type bytes"),
        (object(), "type object"),
        ((1, {"a": [b"x"]}), "type bytes"),
        (Page(b"x"), "type bytes"),
        (Page, "type type"),
        (Colour.RED, "type Colour"),
        (Number(1), "type Number"),
        (Pair(1, 2), "type Pair"),
        (OrderedDict(a=1), "type OrderedDict"),
        (PurePosixPath("a"), "type PurePosixPath"),
        (1j, "type complex"),
        (local(), "define the class at the top level"),
        (Text("x"), "more than a dataclass"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_would_come_back_as_something_else_is_refused(item, words):
    """The sentence names the type that is at fault, also when it is deep inside."""
    with pytest.raises(TypeError, match=f"{words}.* cannot be stored as an input|cannot be stored.*{words}"):
        kept_item(item)


@pytest.mark.parametrize("several", [{1, 2}, (n for n in "ab"), map(str, "ab"), {"a": 1}.keys(), range(3)])
def test_several_are_not_one(several):
    """It says how to add each of them."""
    with pytest.raises(TypeError, match=r"to add each of its elements, write ctx\.add\(\*\.\.\.\)"):
        kept_item(several)


def test_what_contains_itself_is_refused():
    """Rather than end the worker."""
    ring = []
    ring.append(ring)

    with pytest.raises(ValueError, match="a list that contains itself cannot be stored"):
        kept_item(ring)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting"),
        ('"\\', "Unterminated"),
        ("{}", "KeyError"),
        ('{"": "tuple", "of": 1}', "TypeError"),
        ('{"": "date:yesterday"}', "yesterday"),
        (
            '{"":"dataclass","of":[],"name":"Gone","in":"no.such.module"}',
            "class Gone is not found in the module no",
        ),
        (
            kept_item(Page("a")).replace("depth", "height"),
            r"fields of its class Page have changed since it was added \(url, height\)",
        ),
    ],
)
def test_what_cannot_be_made_again_says_why(text, words):
    """Anybody may write into the file, and a class may have changed since."""
    with pytest.raises(ValueError, match=words):
        item_from(text)
