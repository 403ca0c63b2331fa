"""What ``--arg`` becomes: the type of the parameter's annotation, or of its default."""

from __future__ import annotations

import datetime as dt
import enum
import functools
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, Union
from uuid import UUID

import click
import pytest

from pipeloom.cli.running.arguments import bound

Name = NewType("Name", str)


class Colour(enum.Enum):
    RED = "r"
    BLUE = 2


class Url(str):
    __slots__ = ()


TYPED = [
    (int, ["3"], 3),
    (float, ["3"], 3.0),
    (bool, ["No"], False),
    (str, ["3"], "3"),
    (Any, ["3"], "3"),
    (Path, ["a/b"], Path("a/b")),
    (Url, ["u"], Url("u")),
    (Name, ["n"], "n"),
    (Decimal, ["1.10"], Decimal("1.10")),
    (UUID, ["12345678123456781234567812345678"], UUID(int=0x12345678123456781234567812345678)),
    (dt.date, ["2026-01-31"], dt.date(2026, 1, 31)),
    (dt.datetime, ["2026-01-31T12:00"], dt.datetime.fromisoformat("2026-01-31T12:00")),
    (Optional[int], ["3"], 3),  # noqa: UP045 - the old spelling
    (int | None, ["none"], None),
    (str | None, ["x"], "x"),
    (str | int, ["3"], 3),
    (Union[Path, float], ["x"], Path("x")),  # noqa: UP007
    (Annotated[int, "how many"], ["3"], 3),
    (Annotated[int | None, "how many"], ["3"], 3),
    (Literal["a", 2, True], ["2"], 2),
    (Literal["a", 2, True], ["true"], True),
    (Colour, ["RED"], Colour.RED),
    (Colour, ["2"], Colour.BLUE),
    (list[int], ["1", "2"], [1, 2]),
    (list[int], ["1"], [1]),
    (list, ["1", "2"], ["1", "2"]),
    (list[int] | None, ["1"], [1]),
    (Sequence[Path], ["a"], [Path("a")]),
    (Iterable[str], ["a"], ["a"]),
    (set[int], ["1", "1"], {1}),
    (tuple[int, ...], ["1", "2"], (1, 2)),
    (tuple[int, str], ["1", "2"], (1, "2")),
    ("int | None", ["3"], 3),
    ("'int | None'", ["3"], 3),
    ("list[dt.date]", ["2026-01-31"], [dt.date(2026, 1, 31)]),
    (Optional["NobodyKnows"], ["3"], "3"),  # noqa: F821
    ("NobodyKnows", ["3"], "3"),
]


@pytest.mark.parametrize(("annotation", "words", "value"), TYPED, ids=lambda value: str(value)[:30])
def test_a_value_takes_the_type_of_the_annotation(annotation, words, value):
    """Whether that is a type or text, with what any typed program may say."""

    def main(a):
        return a

    main.__annotations__ = {"a": annotation}
    args, named = bound(main, [f"a={word}" for word in words])
    found = main(*args, **named)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("default", "words", "value"),
    [
        (1, ["3"], 3),
        (1.5, ["3"], 3.0),
        (True, ["off"], False),
        ("x", ["3"], "3"),
        (Path("x"), ["y"], Path("y")),
        (Colour.RED, ["BLUE"], Colour.BLUE),
        (dt.date(2026, 1, 1), ["2026-01-31"], dt.date(2026, 1, 31)),
        ((), ["a", "b"], ("a", "b")),
        ([1, 2], ["3"], [3]),
        (None, ["3"], "3"),
        ({}, ["3"], "3"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("annotation", [None, "NobodyKnows"])
def test_without_an_annotation_that_tells_it_takes_that_of_the_default(default, words, value, annotation):
    """What is left out keeps its default."""

    def main(a=default):
        return a

    if annotation:
        main.__annotations__ = {"a": annotation}
    args, named = bound(main, [f"a={word}" for word in words])
    assert main(*args, **named) == value
    args, named = bound(main, [])
    assert main(*args, **named) is default


def every_kind(a: int, b: int = 2, /, c: int = 3, *rest: int, d: int = 4, **others: int):
    return a, b, c, rest, d, others


def test_each_kind_of_parameter_gets_its_words():
    """By place only, by name only, the rest; whichever are left out."""

    def call(function, *pairs):
        args, named = bound(function, pairs)
        return function(*args, **named)

    assert call(every_kind, "a=1") == (1, 2, 3, (), 4, {})
    assert call(every_kind, "a=1", "rest=7", "rest=8", "d=5", "z=9") == (1, 2, 3, (7, 8), 5, {"z": 9})
    assert call(every_kind, "a=1", "b=1", "c=1") == (1, 1, 1, (), 4, {})
    assert call(functools.partial(every_kind, 5), "c=1") == (5, 2, 1, (), 4, {})
    assert call(lambda **words: words, "a=1", "b=x") == {"a": "1", "b": "x"}
    assert call(dict, "a=1") == {"a": "1"}


@pytest.mark.parametrize(
    ("function", "pairs", "said"),
    [
        (every_kind, [], "pass --arg a="),
        (every_kind, ["a"], "write KEY=VALUE"),
        (every_kind, ["a=x"], "--arg a=x: not a valid int"),
        (every_kind, ["a=1", "a=2"], "--arg a was given 2 times"),
        (every_kind, ["a=1", "z=1", "z=2"], "--arg z was given 2 times"),
        (lambda a: a, ["a=1", "b=2"], "--arg b: the function has no such parameter (it has: a)"),
        (lambda: None, ["b=2"], "(it has: none)"),
    ],
)
def test_words_that_do_not_fit_are_one_sentence(function, pairs, said):
    """It says which word, and what would fit."""
    with pytest.raises(click.UsageError) as caught:
        bound(function, pairs)

    assert said in caught.value.message


@pytest.mark.parametrize(
    ("annotation", "word", "said"),
    [
        (Colour, "green", "one of RED, BLUE"),
        (Literal["a", "b"], "c", "one of a, b"),
        (int | float | None, "x", "not a valid int or float"),
        (bool, "2", "true or false"),
        (dt.date, "31.1.", "such as 2026-01-31"),
        (tuple[int, int], "1", "2 values"),
        (dict[str, int], "x", "text cannot be converted to dict"),
        (object(), "x", "text cannot be converted to"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_value_that_does_not_fit_says_what_would(annotation, word, said):
    """Rather than what Python's own conversion says."""

    def main(a):
        return a

    main.__annotations__ = {"a": annotation}
    with pytest.raises(click.UsageError) as caught:
        bound(main, [f"a={word}"])

    assert said in caught.value.message
