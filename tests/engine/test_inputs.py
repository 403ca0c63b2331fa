"""Inputs that are left early: which of them are closed."""

from __future__ import annotations

import itertools

import pytest

from pipeloom.engine.inputs import close_generators


class Rows:
    """Makes generators, and knows which were closed."""

    def __init__(self):
        self.closed = []

    def __call__(self, name="a"):
        try:
            yield from itertools.count()
        finally:
            self.closed.append(name)


WRAPPED = [
    lambda inner: inner,
    enumerate,
    lambda inner: map(str, inner),
    lambda inner: zip(inner, "abc", strict=False),
    lambda inner: filter(None, inner),
    lambda inner: itertools.islice(inner, 9),
    lambda inner: enumerate(itertools.takewhile(lambda _: True, map(str, inner))),
    lambda inner: (each for each in inner),
]


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_a_generator_is_closed_behind_whatever_it_is(wrapped):
    """Nobody else can go on with it."""
    rows = Rows()
    inputs = wrapped(rows())
    next(inputs)
    close_generators(inputs)
    assert rows.closed == ["a"]


@pytest.mark.parametrize("wrapped", WRAPPED[1:])
def test_a_generator_that_the_caller_holds_goes_on(wrapped):
    """As whoever runs it a chunk at a time expects; so does an iterator around it."""
    rows = Rows()
    held = rows()
    inputs = wrapped(held)
    next(inputs)
    close_generators(inputs)
    around = enumerate(rows("b"))
    inputs = wrapped(around)
    next(inputs)
    close_generators(inputs)

    assert rows.closed == []
    next(held)
    next(around)


def test_a_file_stays_open(tmp_path):
    """It is its owner's to close."""
    (tmp_path / "names").write_text("a\nb\nc\n")
    with open(tmp_path / "names") as file:
        inputs = enumerate(file)
        close_generators(inputs)
        close_generators(file)
        assert next(inputs) == (0, "a\n")
