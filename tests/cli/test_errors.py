"""``pipeloom errors``: why tasks failed, and how to go on."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import pipeloom

from .commands import AT, document

TIMES = "\N{MULTIPLICATION SIGN}"


def test_errors_says_why_and_how_to_go_on(ran, ask):
    """Kinds with counts, the largest first; where, one example with the end of its traceback; the command."""
    code, out, _ = ask("errors", "--db", ran)

    assert code == 0
    assert out.startswith(f"4 tasks did not end well, of 2 kinds\n\n3 {TIMES} ValueError: could not convert")
    for words in (
        "one of them is task 4 (n1)",
        'return {"n": float(path.name)}',
        "    ValueError: could not convert string to float: 'n1'",
        f"1 {TIMES} FileNotFoundError: no such file: …",
        "this is task 7 (m1)",
        f"pipeloom show 4 --db {shlex.quote(str(ran))}",
    ):
        assert words in out, out
    assert out.index(f"3 {TIMES}") < out.index(f"1 {TIMES}")
    assert out.splitlines()[-1].startswith("to run them again: ")


def test_errors_as_json(ran, ask):
    """Groups with their examples; as many as asked for, of as many as there are."""
    told = document(ask("errors", "--db", ran, "--json", "-n", 1))

    assert (told["failures"], told["kinds"], len(told["groups"])) == (4, 2, 1)
    assert told["groups"][0]["count"] == 3
    assert told["groups"][0]["example"]["key"] == "path:in/n1"
    assert told["again"] == "python load.py"


def test_errors_tells_of_the_kinds_it_does_not_show(ran, ask):
    """With what shows them."""
    assert "… and one more kind, 1 task: -n 2" in ask("errors", "--db", ran, "-n", 1)[1]


def test_no_failures_is_said_plainly(write, ask, db):
    """In an empty ledger, and among done tasks."""
    write("task_runs", {"name": "a", "status": "done"})

    assert ask("errors", "--db", db)[:2] == (0, "no failures (1 done)\n")
    assert document(ask("errors", "--db", db, "--json")) == {
        "failures": 0,
        "kinds": 0,
        "groups": [],
        "refused": 0,
        "again": None,
    }


def test_inputs_without_a_task_are_told_of(db, ask):
    """They failed, and are in no group; those of the last run, or of the one that is asked for."""
    pipeloom.map(str, [1, None, 2.5], db=db, workers=1, on_error="collect", progress=False)
    pipeloom.map(str, [1, None], db=db, on_error="collect", progress=False)

    _, out, _ = ask("errors", "--db", db)
    assert out.startswith("no failed tasks (1 done)\n\n1 input was refused in the last run, such as this one:\n")
    assert "input 2 (None) has no key: a value of type NoneType" in " ".join(out.split())
    assert "2 inputs were refused in run 1" in ask("errors", "--db", db, "--run", 1)[1]
    assert document(ask("errors", "--db", db, "--json", "--run", 1))["refused"] == 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python load.py", "python load.py"),
        ("python load.py …", "python load.py …  (with the same arguments)"),
        ("pipeloom run load.py:main …", "pipeloom run load.py:main …  (with the same arguments)"),
        ("python -c …", "start the same program again"),
        ("python", "start the same program again"),
        (None, "start the same program again"),
        ("python \x1b[31mx.py", "python \\x1b[31mx.py"),
    ],
)
def test_how_to_run_again_is_how_it_was_started(write, ask, db, command, words):
    """As far as that is known; what a file says is shown, and harmless."""
    write("pipeloom_runs", {"id": 1, "status": "error", "started_at": AT, "command": command})
    write("task_runs", {"name": "a", "status": "error", "run_id": 1})
    out = ask("errors", "--db", db)[1]

    assert out.splitlines()[-1].startswith(f"to run them again: {words}")


def test_errors_of_a_run_that_was_made_good(ran, ask):
    """They are no failures now, but they were."""
    pipeloom.map(lambda path: 1, [Path("in/m1")], db=ran, name="work", progress=False, durability="off")

    assert "3 tasks did not end well, of one kind" in ask("errors", "--db", ran)[1]
    assert "4 tasks did not end well in run 1, of 2 kinds" in ask("errors", "--db", ran, "--run", 1)[1]
    assert "no failures in run 2 (1 done)" in ask("errors", "--db", ran, "--run", 2)[1]
