"""What an object takes of memory: about right, cheap, and never in the way of what a foreign class does."""

from __future__ import annotations

import array
import collections
import dataclasses
import sys
from pathlib import PurePath

import msgspec
import pytest

from pipeloom.data.weights import SLOT, slots_for, weigh

MIB = 2**20
BODY = bytes(4 * MIB)


@dataclasses.dataclass
class Plain:
    body: object


@dataclasses.dataclass(slots=True)
class Slotted:
    body: object


class Struct(msgspec.Struct):
    body: object


Named = collections.namedtuple("Named", "name body")  # noqa: PYI024 - as older programs have it


class Array:
    """As large arrays say it."""

    nbytes = 4 * MIB


class Frame:
    """As frames say it."""

    shape = (MIB // 2, 1)


@pytest.mark.parametrize(
    "value",
    [
        BODY,
        bytearray(BODY),
        "x" * 4 * MIB,
        memoryview(BODY),
        array.array("b", BODY),
        (1, BODY),
        [[[[{"a": {"b": Plain(BODY)}}]]]],
        Plain(BODY),
        Slotted(BODY),
        Struct(BODY),
        Named("n", BODY),
        ValueError("no", BODY),
        AttributeError("no", obj=Plain(BODY)),
        Array(),
        Frame(),
        [Plain(Array())],
        collections.deque([BODY]),
        collections.OrderedDict(a=BODY),
        ["x" * 943 for _ in range(4 * 1024 + 200)],
        dict.fromkeys(range(4 * 1024), "x" * 850),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_4_mib_weighs_about_that(value):
    """In a container, an attribute or an exception; a large list is judged by a few of its elements."""
    assert weigh(value) == pytest.approx(4 * MIB, rel=0.1)


@pytest.mark.parametrize(
    "value", [1, None, "text", (1, "a"), {"a": 1}, PurePath("a/b"), Plain(1), sys, weigh, Plain]
)
def test_what_is_small_takes_one_slot(value):
    """A module, a function or a class is not there for one object."""
    assert 0 < weigh(value) < SLOT
    assert slots_for(weigh(value)) == 1


def test_slots_are_counted_in_bytes():
    """A thing that takes less than one takes one."""
    assert [slots_for(size) for size in (0, 1, SLOT, 3 * SLOT, 3 * SLOT + 1)] == [1, 1, 1, 3, 3]


def test_foreign_code_is_not_called_and_never_in_the_way():
    """A circle ends, a deep nest too; what a class raises is its own."""

    class Foreign(list):
        """Raises at everything."""

        def __sizeof__(self):
            raise AssertionError

        def __getattr__(self, name):
            raise AssertionError

        def __len__(self):
            raise RuntimeError

    class Lazy:
        """Would load what it is asked for."""

        def __getattr__(self, name):
            raise AssertionError(name)

    circle = deep = []
    circle.append(circle)
    for _ in range(10_000):
        deep = [deep, BODY]

    assert 0 < weigh(Foreign()) < SLOT
    assert 0 < weigh(Lazy()) < SLOT
    assert 0 < weigh(circle) < SLOT
    assert 4 * MIB < weigh(deep) < 64 * MIB
