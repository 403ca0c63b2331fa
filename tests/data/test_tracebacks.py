"""Tracebacks: word for word what Python prints, and bounded where there is too much of it."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
import weakref

import pytest

import pipeloom
from pipeloom.data.tracebacks import drop_frames, traceback_of


def caught(function, *args):
    """Return what a call raises."""
    try:
        function(*args)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it raised nothing")


def descend(depth):
    """Raise below so many calls, of two lines in turn: Python folds frames that are the same."""
    if depth <= 0:
        raise ValueError("at the bottom")
    if depth % 2:
        descend(depth - 1)
    descend(depth - 1)


def chained(length):
    """Raise an exception with so many causes."""
    error = None
    for number in range(length + 1):
        try:
            raise ValueError(number) from error
        except ValueError as this:
            error = this
    raise error


def grouped(width, depth=1):
    """Raise a group of groups."""
    if depth == 0:
        raise ValueError("a leaf")
    raise ExceptionGroup("many", [caught(grouped, width, depth - 1) for _ in range(width)])


class Unprintable(Exception):
    """Raises when it is printed."""

    def __str__(self):
        raise RuntimeError


def in_a_circle():
    """Raise an exception that caused itself."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def while_handling(suppressed):
    """Raise within a handler."""
    try:
        descend(2)
    except ValueError as error:
        if suppressed:
            raise KeyError("another") from None
        raise KeyError("another").with_traceback(error.__traceback__)  # noqa: B904 - that is what is told


def with_notes():
    """Raise with notes."""
    error = ValueError("noted")
    error.add_note("the first\nand its second line")
    error.add_note("the second")
    raise error


ORDINARY = {
    "a few frames": (descend, 12),
    "a recursion": (lambda: (loop := lambda n: loop(n - 1) if n else 1 / 0)(12),),
    "causes": (chained, 5),
    "a context": (while_handling, False),
    "no context": (while_handling, True),
    "a circle": (in_a_circle,),
    "a group": (grouped, 3),
    "a group in a group": (grouped, 2, 3),
    "a wide group": (grouped, 16),
    "notes": (with_notes,),
    "a syntax error": (compile, "a = = 1", "f.py", "exec"),
    "a name": (lambda: traceback.format_exceptoin,),
    "a missing name": (lambda: undefined,),  # noqa: F821
    "unprintable": (lambda: (_ for _ in ()).throw(Unprintable()),),
    "surrogates": (lambda: (_ for _ in ()).throw(ValueError("\ud800")),),
}


@pytest.mark.parametrize("what", ORDINARY)
def test_an_ordinary_one_is_what_python_prints(what):
    """To the letter."""
    error = caught(*ORDINARY[what])
    assert traceback_of(error, error.__traceback__) == "".join(traceback.format_exception(error))


def effort(error):
    """Return how many calls a traceback takes."""
    calls = 0

    def count(_frame, event, _arg):
        nonlocal calls
        calls += event == "call"

    traceback_of(error, error.__traceback__)  # reads the source
    sys.setprofile(count)
    try:
        traceback_of(error, error.__traceback__)
    finally:
        sys.setprofile(None)
    return calls


def test_many_frames_are_told_by_both_ends():
    """How it began, where it ended, and how much is left out; at the price of thirty."""
    error = caught(descend, 600)
    text = traceback_of(error, error.__traceback__)

    assert text.startswith("Traceback (most recent call last):\n")
    assert "in caught\n" in text
    assert f"\n  [{602 - 30:,} more frames]\n" in text
    assert text.endswith("ValueError: at the bottom\n")
    assert text.count("  File ") == 30
    assert effort(error) < 2 * effort(caught(descend, 27))


def test_many_causes_are_told_by_both_ends():
    """The last ones, and the first."""
    text = traceback_of(error := caught(chained, 1000), error.__traceback__)

    kept = [line for line in text.splitlines() if line.startswith("ValueError: ")]
    assert kept == [f"ValueError: {number}" for number in (0, 993, 994, 995, 996, 997, 998, 999, 1000)]
    assert "\nValueError: 0\n[992 exceptions between this one and the next are left out]\n" in text
    assert effort(error) < 4 * effort(caught(chained, 8))  # a step along the chain is a call, too


def test_a_large_group_is_no_more_than_what_is_shown():
    """Fifteen, as Python does, and no thousand that it looks at beforehand; or the group alone."""
    error = caught(grouped, 1000)
    assert "and 985 more exceptions" in traceback_of(error, error.__traceback__)
    assert effort(error) < 2 * effort(caught(grouped, 15))

    error = caught(grouped, 5, 5)
    text = traceback_of(error, error.__traceback__)
    assert "[its 5 exceptions are left out]" in text
    assert len(text) < 50_000


@pytest.mark.parametrize("what", ["message", "note", "notes", "source"])
def test_long_texts_are_cut_in_the_middle(what):
    """Wherever they stand."""
    error = ValueError("begin" + 1_000_000 * "x" + "end" if what == "message" else "short")
    if what == "note":
        error.add_note("begin" + 1_000_000 * "x" + "end")
    elif what == "notes":
        for number in range(10_000):
            error.add_note(f"note {number}")
    elif what == "source":
        error = SyntaxError("wrong", ("f.py", 1, 1, "begin" + 1_000_000 * "x" + "end"))
    text = traceback_of(error, None)

    assert len(text) < 10_000
    assert "more characters" in text or "[9,990 more notes]" in text


def test_a_task_is_stored_with_both_ends(db, read):
    """What `pipeloom show` and `pipeloom errors` tell."""
    report = pipeloom.map(lambda _: descend(600), [1], db=db, name="n", on_error="collect")

    [(stored,)] = read(db, "SELECT error FROM task_runs")
    assert stored == report.failures[0].traceback
    assert stored.startswith("Traceback (most recent call last):\n")
    assert "more frames]" in stored
    assert stored.endswith("ValueError: at the bottom\n")


# --- what an exception that is kept lets go of ---


class Buffer:
    """What a call had in a variable; may be referred to weakly."""


def test_no_exception_keeps_what_a_call_had_in_its_variables():
    """Not the causes and members of a group either, nor one that was given to another. Cycles are fine."""
    buffers = []

    def failing(*given):
        buffer = Buffer()
        buffers.append(weakref.ref(buffer))
        raise OSError(*given)

    async def parts():
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            group.create_task(part())

    async def part():
        try:
            failing()
        except OSError as error:
            inner = error
        try:
            failing(inner)
        except OSError as error:
            error.wraps = caught(failing)
            raise ExceptionGroup("nested", [error]) from inner

    error = caught(lambda: asyncio.run(parts()))
    error.exceptions[0].exceptions[0].args[0].__cause__ = error
    gc.collect()
    assert any(buffer() for buffer in buffers)

    drop_frames(error)
    drop_frames(None)
    gc.collect()
    assert len(buffers) == 6
    assert not any(buffer() for buffer in buffers)
