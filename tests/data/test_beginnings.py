"""The beginning of what an object is shown as: word for word, and without making the rest."""

from __future__ import annotations

import collections
import dataclasses
from time import perf_counter

import msgspec
import numpy as np
import pandas as pd
import pytest

from pipeloom.data.text import clean, describe

BODY = b"\x00\xff" * 2**20
LONG = list(range(2**20))


@dataclasses.dataclass
class Plain:
    name: str
    body: object
    secret: object = dataclasses.field(default=BODY, repr=False)


class Struct(msgspec.Struct):
    name: str
    body: object


Named = collections.namedtuple("Named", "name body")  # noqa: PYI024 - as older programs have it


class Titled:
    """Says itself how it is shown."""

    def __init__(self, body):
        self.body = body

    def __str__(self):
        return "a title"


class Counted:
    """Counts who asks for its whole text."""

    asked = 0

    def __repr__(self):
        Counted.asked += 1
        return "counted"


class Mistaken(Exception):
    """Has no ``str`` of its own."""


@pytest.mark.parametrize(
    "value",
    [
        BODY,
        bytearray(BODY),
        "x" * 2**20,
        (1, BODY),
        [[[1, {"a": (None, 2.5, "it's", BODY)}]]],
        {"id": 7, "data": LONG},
        set(LONG),
        frozenset(LONG),
        collections.deque(LONG),
        Plain("n", BODY),
        Named("n", LONG),
        Struct("n", LONG),
        Titled(BODY),
        ValueError("x" * 2**20),
        ValueError("no", LONG),
        KeyError(BODY),
        Mistaken({"a": LONG}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_large_thing_is_shown_by_its_beginning(value):
    """The same as ``str`` begins with, at a fraction of its cost."""
    shown = describe(value, 200)
    whole = str(value)
    assert len(shown) <= 200
    assert shown == whole or shown == whole[:199] + "…"


@pytest.mark.parametrize(
    "value",
    [(1, "a"), {"a": [1, None]}, Plain("n", 1, 1), Titled(1), np.arange(20), ValueError(1, 2), KeyError("a")],
)
def test_a_small_thing_is_shown_as_ever(value):
    """Whatever its class makes of it."""
    assert describe(value) == str(value)


def test_arrays_and_frames_are_shown_by_their_shape():
    """Also within something else. Making text of one takes 10 ms."""
    frame = pd.DataFrame(np.zeros((2000, 30)))
    assert describe(frame) == "<DataFrame of 2000 x 30>"
    assert describe((7, np.zeros((100, 200)), frame)) == "(7, <ndarray of 100 x 200>, <DataFrame of 2000 x 30>)"


def test_no_more_is_asked_than_is_shown():
    """Not of ten thousand elements, of which twenty are seen."""
    assert describe([Counted() for _ in range(10_000)], 200).startswith("[counted, counted")
    assert Counted.asked < 30
    began = perf_counter()
    for _ in range(100):
        clean({"id": 1, "data": LONG, "rest": BODY}, 300)
    assert perf_counter() - began < 2.0  # the whole text of one takes 0.2 s
