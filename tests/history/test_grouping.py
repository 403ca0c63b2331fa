"""Failures that are the same one: what is folded, where it was raised, and how much is kept."""

from __future__ import annotations

import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import pipeloom
from pipeloom.history import essence
from pipeloom.history.grouping import Groups, folded, origin

AT = "2026-01-31T12:00:0{}.000+00:00"


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
    except BaseException as error:
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
    groups.add(1, "error", message, error, AT.format(1), 1)
    (group,) = groups.largest(1)

    assert (group.exception, group.where) == (exception, where)


def test_text_that_is_no_traceback_is_no_error():
    """Refusals of the ledger are one line; a worker may send anything."""
    assert origin("RowRefusedError", cut=True) == ("RowRefusedError", None)
    assert origin("what\nis this", cut=False)[1] is None
    assert essence("") == [""]


def test_the_essence_is_the_users_own_line_and_the_end():
    """Of forty frames in a library, none."""
    message, error = raised("import json\ndef parse(text):\n  return json.loads(text)\nparse('x')")
    lines = essence(error)

    assert lines[0] == '  File "/home/ann/load.py", line 3, in parse'
    assert lines[-1] == f"json.decoder.JSONDecodeError: {message}"
    assert "  …" in lines
    assert len(lines) <= 5


def test_one_kind_is_one_group(ran, opened):
    """From a real run: counts, the largest first, an example with its traceback."""
    with opened() as history:
        first, second = history.error_groups()

    assert (first.exception, first.count, first.status) == ("ValueError", 3, "error")
    assert first.message == "could not convert string to float: …"
    assert first.where.startswith(__file__.replace("test_grouping", "conftest"))
    assert first.where.endswith("in work")
    assert (first.example.id, first.example.name, first.run_ids) == (7, "n1", (1,))
    assert first.traceback.endswith("ValueError: could not convert string to float: 'n1'\n")
    assert (second.exception, second.message, second.count) == ("FileNotFoundError", "no such file: …", 1)


def test_what_failed_in_a_run_stays_said_when_a_later_one_has_done_it(ran, opened):
    """Without a run, only what is failed now."""
    pipeloom.map(lambda path: 1, [Path("in/n1"), Path("in/m1")], db=ran, name="work", progress=False)
    with opened() as history:
        assert [group.count for group in history.error_groups()] == [2]
        then = history.error_groups(run_id=1)
        assert sorted(group.count for group in then) == [1, 3]
        assert {group.example.status for group in then} == {"error"}
        assert all(group.traceback for group in then)
        assert sorted(task.id for task in history.failures(9, run_id=1)) == [7, 8, 9, 10]
        assert history.error_groups(run_id=2) == history.failures(9, run_id=2) == []
        assert history.error_groups(run_id=1 << 70) == []


def test_a_try_that_its_own_run_repeated_is_no_failure_of_it(written, opened):
    """Retries: only how the run left the task counts."""
    written(
        task_runs=[{"id": n, "name": "t", "status": "done", "run_id": 1 if n == 1 else 2} for n in (1, 2)],
        pipeloom_attempts=[
            {"task_id": 1, "run_id": 1, "attempt": 1, "status": "error", "message": "a"},
            {"task_id": 2, "run_id": 1, "attempt": 1, "status": "error", "message": "b"},
            {"task_id": 2, "run_id": 1, "attempt": 2, "status": "error", "message": "c"},
        ],
    )
    with opened() as history:
        assert [(group.message, group.count) for group in history.error_groups(run_id=1)] == [("c", 1)]


def test_times_and_runs_are_gathered(written, opened):
    """First, last, and which runs."""
    written(
        task_runs=[
            {"id": n, "name": "t", "status": "timed_out", "message": f"{n} s", "run_id": n}
            | {"finished_at": AT.format(9 - n)}
            for n in range(1, 4)
        ]
    )
    with opened() as history:
        (group,) = history.error_groups()

    assert (group.first_at, group.last_at, group.run_ids) == (AT.format(6), AT.format(8), (3, 2, 1))
    assert (group.exception, group.status, group.message) == (None, "timed_out", "… s")


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
