"""Who a function is."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import sqlite3
import subprocess
import sys
import threading
import types
from decimal import Decimal
from pathlib import Path

import pytest

from pipeloom.data import seen
from pipeloom.data.captured import digest_of, digest_of_code
from pipeloom.data.naming import naming_of


def outer():
    """Make a function in a function."""

    def inner():
        pass

    return inner


def holding(value):
    """Make a function that holds a value."""
    return lambda: value, _held_by(value)


def _held_by(value):
    def held():
        return value

    return held


class Callable:
    """Can be called."""

    def method(self):
        """Has a name."""

    def __call__(self):
        """Do nothing."""

    @classmethod
    def of_class(cls):
        """Is known by name."""


@dataclasses.dataclass
class Part:
    """Has fields."""

    n: int


class Colour(enum.Enum):
    """Is known by name."""

    RED = 1


def test_a_pipeline_is_called_like_its_function():
    """``module:qualname`` of what lies innermost."""
    named = {
        outer: "outer",
        outer(): "outer.<locals>.inner",
        Callable: "Callable",
        Callable().method: "Callable.method",
        Callable.of_class: "Callable.of_class",
        Callable(): "Callable",
        functools.wraps(outer)(lambda: None): "outer",
        functools.partial(functools.partial(outer)): "outer",
        functools.lru_cache(outer): "outer",
        outer.__call__: "method-wrapper.__call__",
    }
    assert [naming_of(fn).function.rpartition(":")[2] for fn in list(named)[:-1]] == list(named.values())[:-1]
    assert naming_of(outer).function.endswith(f"{Path(__file__).stem}:outer")
    assert naming_of(len).name == "builtins:len"
    assert naming_of(str.upper).name == "builtins:str.upper"
    assert naming_of(outer, "mine").name == "mine"


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        "text",
        b"bytes",
        1.5,
        Decimal("1.50"),
        Path("a/b"),
        (1, [2, {"three": {4}}]),
        frozenset({"a", "b"}),
        Part(1),
        Colour.RED,
        Callable,
        outer,
        len,
        outer(),
        Callable().method,
        functools.partial(outer, 1),
        types.SimpleNamespace,
        sys,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_the_same_have_one_digest(value):
    """And another one than any other value."""
    others = [0, "other", (1, [2, {"three": {5}}]), Part(2), functools.partial(outer, 2), Part]

    assert digest_of([value]) == digest_of([value]) is not None
    assert digest_of([value]) not in [digest_of([other]) for other in others]


def test_no_two_kinds_look_alike():
    """Not even where Python calls them equal."""
    alike = [1, True, 1.0, "1", b"1", (1,), [1], {1}, frozenset({1}), Decimal(1), [[1]], {"n": 1}, Part(1), [1, 1]]

    assert len({digest_of(value) for value in alike}) == len(alike)


class Slotted:
    """Keeps its state where ``vars`` does not look."""

    __slots__ = ("n",)


class Counted(dict):
    """Is more than its attributes."""


def local_class():
    """Make a class that shares its name with others."""

    class Local:
        pass

    return Local


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        object(),
        Slotted(),
        Counted(),
        local_class(),
        local_class()(),
        type("Callable", (), {"n": 1}),
        iter([]),
        range(3).__iter__(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_of_other_values_nothing_is_known(value):
    """So that no two of them are taken for one."""
    assert digest_of([value]) is None


def test_a_function_is_what_its_attributes_are_as_well():
    """Somebody set them for it to read."""
    one, other = _held_by(1), _held_by(1)
    assert digest_of(one) == digest_of(other)
    other.limit = 2

    assert digest_of(one) != digest_of(other)


def test_what_holds_itself_or_a_million_values_ends():
    """A digest is looked for in a bounded time."""
    endless: list[object] = []
    endless.append(endless)

    assert digest_of(endless) is not None
    assert digest_of([list(range(1_000_000))]) is None


def test_code_is_the_same_wherever_it_stands():
    """Lines and files do not count; what it does does."""
    one, moved, other = (
        eval(compile(text, name, "eval"))
        for text, name in (
            ("lambda n: n + 1", "a.py"),
            ("\n\nlambda n: n + 1", "b.py"),
            ("lambda n: n + 2", "a.py"),
        )
    )

    assert digest_of_code(one.__code__) == digest_of_code(moved.__code__) != digest_of_code(other.__code__)


def test_one_object_is_the_same_job_as_long_as_it_holds_the_same():
    """A list may have grown; a name that was bound anew is another value."""
    calls: list[int] = []
    table = "north"

    def load():
        calls.append(1)
        return table

    def opened():
        return conn

    with sqlite3.connect(":memory:") as conn:
        first, first_opened = naming_of(load).captured, naming_of(opened).captured
        calls.append(2)
        assert naming_of(load).captured == first
        assert naming_of(opened).captured == first_opened
    table = "south"
    assert naming_of(load).captured != first
    conn.close()


def test_a_function_that_is_gone_is_forgotten():
    """Its number may be another one's by then."""
    before = len(seen._seen)
    functions = [holding(threading.Lock()) for _ in range(10)]
    words = {naming_of(fn).captured for pair in functions for fn in pair}
    assert len(words) == 20
    del functions
    gc.collect()

    assert len(seen._seen) <= before


SCRIPT = """
from pipeloom.data.naming import naming_of
def load():
    pass
print(naming_of(load).name)
"""


def test_a_script_is_called_by_its_file(tmp_path):
    """With the packages around it, however it is started; what was typed has no file."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "nightly.load.py").write_text(SCRIPT)
    for name in ("load.py", "__main__.py"):
        (package / name).write_text(SCRIPT)
    (tmp_path / "link.py").symlink_to(package / "load.py")

    def said(*arguments, stdin=None):
        done = subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            cwd=tmp_path,
        )
        return done.stdout.strip()

    assert said("nightly.load.py") == "nightly.load:load"
    assert said("pkg/load.py") == said("-m", "pkg.load") == said("link.py") == "pkg.load:load"
    assert said("-m", "pkg") == said("pkg") == "pkg.__main__:load"
    assert said("-c", SCRIPT) == said("-", stdin=SCRIPT) == "__main__:load"
