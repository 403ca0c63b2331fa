"""Which function is meant, by a file or a module; and what is none."""

from __future__ import annotations

import sys

import click
import pytest

from pipeloom.cli.running.target import function_of, module_of, target_of

PROGRAM = """
import asyncio
def main(): return "main of " + __name__
async def later(): ...
def rows(): yield 1
async def stream(): yield 1
class Job:
    def method(self): ...
    @staticmethod
    def static(): return "static"
    @classmethod
    def made(cls): return cls.__name__
    class Inner:
        @staticmethod
        def static(): return "inner"
class Rows:
    def __call__(self): yield 1
all_rows = Rows()
method = Job().method
number = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The current directory; what is imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), sys.path[:]
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def found(typed):
    target = target_of(typed)
    return function_of(module_of(target), target)


def write(path, text=PROGRAM):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_of_any_name_is_imported_by_its_stem(here):
    """With spaces, dashes, dots or no ending; one that is named like a module of Python's does not replace it."""
    import queue

    for name in ("load.py", "my load-1.py", "load.v2.py", "a:b.py", "sub/load.py", "./plain", "queue.py"):
        write(here / name)
        assert found(name)() == f"main of {(here / name).stem}"
    assert sys.modules["queue"] is queue
    assert found("a:b.py:Job.static")() == "static"
    assert found("load.py:")() == "main of load"


def test_a_link_to_a_file_has_its_own_name_and_finds_what_lies_beside_the_file(here):
    """As when Python starts it."""
    write(here / "sub/helper.py", "X = 1")
    write(here / "sub/load.py", "from helper import X\ndef main(): return __name__")
    (here / "daily.py").symlink_to("sub/load.py")

    assert found("daily.py")() == "daily"


def test_functions_of_classes_and_objects(here):
    """What can be called without an object."""
    write(here / "load.py")

    assert found("load.py:Job.static")() == found("load:Job.static")() == "static"
    assert found("load:Job.made")() == "Job"
    assert found("load:Job.Inner.static")() == "inner"
    assert found("load:method")() is None


def test_a_file_of_a_package_is_imported_as_a_part_of_it(here, monkeypatch):
    """By every spelling its functions have the same module; relative imports work."""
    write(here / "pkg/__init__.py", "")
    write(here / "pkg/other.py", "X = 1")
    write(here / "pkg/sub/__init__.py", "from ..other import X\ndef main(): return __name__")
    write(here / "pkg/sub/load.py", "from ..other import X\ndef main(): return __name__")
    spellings = ["pkg/sub/load.py", "pkg.sub.load", str(here / "pkg/sub/load.py"), "./pkg/../pkg/sub/load.py:main"]
    assert {found(typed)() for typed in spellings} == {"pkg.sub.load"}
    assert found("pkg/sub/__init__.py")() == found("pkg.sub")() == "pkg.sub"
    monkeypatch.chdir(here / "pkg/sub")
    assert found("load.py")() == "pkg.sub.load"


def test_a_package_that_is_named_like_another_one(here):
    """What has been imported stays what it is: the file is imported alone."""
    write(here / "json/__init__.py", "")
    write(here / "json/load.py")

    assert found("json/load.py")() == "main of load"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("-", "cannot be read from standard input"),
        ("", "no file or module was named"),
        (":main", "no file or module was named"),
        ("sub", "sub is a directory: name a file in it"),
        ("sub/", "is a directory"),
        (".", "is a directory"),
        ("gone.py", "gone.py: no such file"),
        ("sub/gone", "sub/gone: no such file"),
        ("gone", "gone: no module of that name, and no file gone.py"),
        ("load.gone", "load.gone: no module of that name"),
        ("plain", "for the file, use ./plain"),
        ("notes.ipynb", "is not a Python file"),
        ("two words", "not a valid module name"),
        ("load:gone", "load has no function gone: it has later, main, rows, stream"),
        ("load:Job.gone", "load has no function Job.gone"),
        ("load:number", "load:number is a int"),
        ("load:Job", "load:Job is a class"),
        ("load:Job.method", "load:Job.method needs an instance"),
        ("load:rows", "load:rows is a generator function"),
        ("load:stream", "is a generator function"),
        ("load:all_rows", "is a generator function"),
        ("made.py", "made.py:main is a coroutine, the result of a call"),
        ("script.py", "to run its `if __name__` block: python script.py"),
        ("script", "to run its `if __name__` block: python -m script"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_function_is_one_sentence(here, typed, said):
    """It says what to name instead."""
    write(here / "load.py")
    write(here / "sub/x.txt", "")
    write(here / "plain", "")
    write(here / "notes.ipynb", "{}")
    write(here / "made.py", "async def work(): ...\nmain = work()")
    write(here / "script.py", "def work(): ...\nif __name__ == '__main__':\n    work()")
    with pytest.raises(click.UsageError) as caught:
        found(typed)

    assert said in caught.value.message
