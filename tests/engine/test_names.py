"""No default doubles or skips silently: one program started in many ways, every kind of callable called twice."""

from __future__ import annotations

import functools
import re
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

import pipeloom

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "identity.md"


def load(number, ctx=None, root=""):
    """A plain function."""


def decorating(fn):
    """Hold a lock, as decorators do."""
    lock = threading.Lock()

    @functools.wraps(fn)
    def inside(*args):
        with lock:
            return fn(*args)

    return inside


@decorating
def decorated(number):
    """Found by its name."""


@functools.lru_cache
def cached(number):
    """Found by its name."""


def loader_for(table):
    """Make one of many."""

    def load(number):
        return str(table)

    return load


def with_default(table):
    """Make one of many, too."""

    def load(number, table=table):
        return table

    return load


def wrapped(table):
    """Make one of many that bears the name of one."""

    @functools.wraps(load)
    def inside(number, ctx):
        return table

    return inside


class Loader:
    """An object with a method, which can be called as well."""

    def __init__(self, table):
        self.table = table

    def load(self, number):
        """Depend on the object."""

    __call__ = load

    @classmethod
    def from_file(cls, number):
        """Depend on the class."""


same_lambda = lambda n: n  # noqa: E731


def rows() -> list[tuple[str, str, str]]:
    """Return the table of the page."""
    found = re.findall(r"^\| `(.+?)` \| `(.+?)` \| (skips|asks) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) > 20
    return found


@pytest.mark.parametrize(("first", "second", "then"), rows())
def test_what_the_page_says_of_a_second_call(db, first, second, then):
    """Whatever it is, no input is done twice."""
    names = {**globals(), "functools": functools}
    with_text = ["a", "b"]
    pipeloom.map(eval(first, names), with_text, db=db, progress=False)
    if then == "skips":
        report = pipeloom.map(eval(second, names), with_text, db=db, progress=False)
        assert (report.done, report.skipped) == (0, 2)
        return

    with pytest.raises(pipeloom.NameNeededError, match="pass name=") as asked:
        pipeloom.map(eval(second, names), with_text, db=db, progress=False)

    (name,) = re.findall("pass name='(.+?)'", str(asked.value))
    assert pipeloom.map(eval(second, names), with_text, db=db, name=name, progress=False).skipped == 2
    assert pipeloom.map(eval(second, names), with_text, db=db, name="mine", progress=False).done == 2


def test_the_refusal_does_nothing_and_closes_the_run(db, read):
    """Inputs that nobody has done are no reason to go on."""
    pipeloom.map(lambda n: n, [5], db=db, progress=False)
    with pytest.raises(pipeloom.NameNeededError):
        pipeloom.map(lambda n: n, range(6), db=db, workers=8, progress=False)

    assert read(db, "SELECT key FROM task_runs") == [(5,)]
    assert read(db, "SELECT status FROM pipeloom_runs") == [("done",), ("error",)]


SCRIPT: Final = """
import pipeloom
def work(n, ctx):
    ctx.write("t", {"n": n})
def main():
    print(pipeloom.map(work, range(10), db="x.db", progress=False))
if __name__ == "__main__":
    main()
"""
WAYS: Final[list[list[str]]] = [
    ["pkg/load.py"],
    ["-m", "pkg.load"],
    ["-c", "import pkg.load; pkg.load.main()"],
    ["-m", "pipeloom", "run", "pkg/load.py"],
    ["-m", "pipeloom", "run", "pkg.load:main"],
    ["-m", "pkg"],
    ["link.py"],
]


def test_one_program_started_in_many_ways(tmp_path):
    """Ten rows for ten inputs; a copy, or the text through a pipe, is asked about."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "load.py").write_text(SCRIPT)
    (package / "__main__.py").write_text("from .load import main\nmain()\n")
    (tmp_path / "copy.py").write_text(SCRIPT)
    (tmp_path / "link.py").symlink_to(package / "load.py")

    def started(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, timeout=30, cwd=tmp_path, **options
        )

    said = [started(*way).stdout for way in WAYS]
    assert ["10 done" in words for words in said] == [True, *[False] * 6]
    assert ["10 skipped" in words for words in said] == [False, *[True] * 6], said
    for other in (started("copy.py"), started("-", input=SCRIPT)):
        assert other.returncode == 1
        assert "NameNeededError: the input 0 is done in this file under the name 'pkg.load:work'" in other.stderr
        assert other.stderr.count("site-packages") == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as conn:
        assert conn.execute("SELECT COUNT(*), COUNT(DISTINCT n) FROM t").fetchall() == [(10, 10)]
