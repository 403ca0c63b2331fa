"""What failures have in common, and what a traceback says."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import pipeloom
from pipeloom.history import essence
from pipeloom.history.grouping import Groups, folded, is_theirs, origin

PACKAGE = Path(pipeloom.__file__).parent


@pytest.mark.parametrize(
    ("message", "common"),
    [
        ("line 3 column 14 (char 15)", "line … column … (char …)"),
        ("could not convert string to float: 'N/A'", "could not convert string to float: …"),
        ("can't open 'it's.txt'", "can't open …"),
        ('no such table: "a b"', "no such table: …"),
        ("[Errno 2] No such file or directory: /data/a-b/c.csv", "[Errno …] No such file or directory: …"),
        ("at 0x7f2e4c3b1a90 in C:\\temp\\x.txt", "at … in …"),
        ("id 6ba7b810-9dad-11d1-80b4-00c04fd430c8 gone", "id … gone"),
        ("GET https://example.org/a?b=1 failed: 503", "GET … failed: …"),
        ("took 1,204.5 s, then 3.2e4", "took … s, then …e…"),
        ("bad facade, deadbeef and or/and", "bad facade, deadbeef and or/and"),
        ("first line\nsecond 'one'", "first line"),
        ("", ""),
    ],
)
def test_what_is_particular_is_folded(message, common):
    """Words stay."""
    assert folded(message) == common


def raised(source, name="/home/ann/load.py"):
    """Return the traceback of code as if it stood in this file."""
    try:
        exec(compile(source, name, "exec"), {"__name__": "load"})
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is what is asked for
        tb = error.__traceback__.tb_next
        return str(error), "".join(traceback.format_exception(type(error), error, tb))
    raise AssertionError("it did not raise")


CASES = {
    "plain": ("def f():\n  raise ValueError('bad: 7')\nf()", "ValueError", "/home/ann/load.py:2 in f"),
    "in the library": (
        "import json\njson.loads('x')",
        "json.decoder.JSONDecodeError",
        "/home/ann/load.py:2 in <module>",
    ),
    "many lines": ("raise ValueError('one\\nKeyError: two')", "ValueError", "/home/ann/load.py:1 in <module>"),
    "without a message": ("raise ValueError", "ValueError", "/home/ann/load.py:1 in <module>"),
    "a cause": (
        "try:\n  {}[1]\nexcept KeyError as e:\n  raise RuntimeError('wrapped') from e",
        "RuntimeError",
        "/home/ann/load.py:4 in <module>",
    ),
    "a group": (
        "raise ExceptionGroup('some', [ValueError('a'), KeyError('b')])",
        "ExceptionGroup",
        "/home/ann/load.py:1 in <module>",
    ),
    "a note": (
        "e = ValueError('bad')\ne.add_note('see: manual')\nraise e",
        "ValueError",
        "/home/ann/load.py:3 in <module>",
    ),
    "a class in a function": (
        "def f():\n  class Mine(Exception): pass\n  raise Mine('x: y')\nf()",
        "load.f.<locals>.Mine",
        "/home/ann/load.py:3 in f",
    ),
    "bad syntax": ("import ast\nast.parse('a b')", "SyntaxError", "/home/ann/load.py:2 in <module>"),
}


@pytest.mark.parametrize("case", CASES)
def test_exception_and_place_are_read_from_the_traceback(case):
    """As Python prints it, in every form."""
    source, exception, where = CASES[case]
    message, error = raised(source)
    groups = Groups()
    groups.add(1, "error", message, error, "2026-01-31T12:00:01.000+00:00", 1)
    (group,) = groups.largest(1)

    assert (group.exception, group.where) == (exception, where)


def test_text_that_is_no_traceback_is_no_error():
    """Refusals of the ledger are one line; a worker may send anything."""
    assert origin("RowRefusedError", cut=True) == ("RowRefusedError", None)
    assert origin("what\nis this", cut=False)[1] is None
    assert essence("") == [""]


def traceback_through(*files):
    """Return a traceback through these files, line 1 of the first one, and so on."""
    frames = "".join(f'  File "{file}", line {line}, in there\n    it()\n' for line, file in enumerate(files, 1))
    return f"Traceback (most recent call last):\n{frames}ValueError"


MODULES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("root", ["/src/pipeloom/", "C:\\src\\pipeloom\\"])
def test_every_module_of_pipeloom_is_judged(root, module):
    """None is the user's own, whatever rooms there are; the examples are programs of users."""
    file = root + (module.replace("/", "\\") if "\\" in root else module)

    assert is_theirs(file) == module.startswith("examples/")


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (("/src/pipeloom/executors/threads.py", "/src/pipeloom/worker/perform.py", "/home/ann/load.py"), 3),
        (("/src/pipeloom/worker/perform.py", "/home/ann/load.py", "/src/pipeloom/worker/context.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/src/pipeloom/examples/etl.py", "/src/pipeloom/retry.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/src/pipeloom/demo.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/home/ann/pipeloom/jobs/load.py", "<frozen os>"), 2),
        (
            (
                "/x/site-packages/pipeloom/worker/perform.py",
                "/home/ann/pipeloom/load.py",
                "/usr/lib/python3.11/re.py",
            ),
            2,
        ),
    ],
)
def test_the_place_is_the_last_one_in_the_users_own_code(files, line):
    """Wherever pipeloom lies; the last one of all where none is the user's. Both ways to tell it agree."""
    told = traceback_through(*files)

    assert origin(told, cut=True) == ("ValueError", f"{files[line - 1]}:{line} in there")
    assert essence(told)[0] == f'  File "{files[line - 1]}", line {line}, in there'


def test_the_essence_is_the_users_own_line_and_the_end():
    """Of forty frames in a library, none."""
    message, error = raised("import json\ndef parse(text):\n  return json.loads(text)\nparse('x')")
    lines = essence(error)

    assert lines[0] == '  File "/home/ann/load.py", line 3, in parse'
    assert lines[-1] == f"json.decoder.JSONDecodeError: {message}"
    assert "  …" in lines
    assert len(lines) <= 5


def test_messages_without_likeness_take_bounded_memory():
    """Past 2,000 kinds, what differs only in its message is one."""
    groups = Groups()
    for number in range(5000):
        word = "".join(chr(ord("g") + int(digit)) for digit in str(number))
        groups.add(number, "error", word, None, None, None)
    found = groups.largest(9999)

    assert len(found) == 2001
    assert (found[0].message, found[0].count) == ("…", 3000)


BUDGET = """
import resource, sys
from pipeloom.history.grouping import Groups
groups = Groups()
def take(n):
    for i in range(n):
        said = f"bad value {i} in 'file {i}'"
        groups.add(i, "error", said, f"Traceback\\nValueError: {said}", "2026-01-31T12:00:00", i)
take(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
take(60_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(list(groups.largest(9))))
"""


@pytest.mark.slow
def test_failures_of_one_kind_take_no_memory():
    """One record, however many."""
    done = subprocess.run([sys.executable, "-c", BUDGET], capture_output=True, text=True, timeout=50, check=True)
    grown_kib, kinds = map(int, done.stdout.split())

    assert kinds == 1
    assert grown_kib < 4096
