"""``pipeloom errors``: why tasks failed, and how to go on."""

from __future__ import annotations

import shlex
import sys
from datetime import date
from pathlib import Path

import pytest
from pseudoterminal import PseudoTerminal

import pipeloom

from .commands import AT, document

TIMES = "\N{MULTIPLICATION SIGN}"


def test_errors_says_why_and_how_to_go_on(ran, ask):
    """Kinds with counts, the largest first; where, one example with the end of its traceback; the command."""
    code, out, _ = ask("errors", "--db", ran)

    assert code == 0
    assert out.startswith(f"4 tasks failed (2 kinds)\n\n3 {TIMES} ValueError: could not convert")
    for words in (
        "in work\n  first task 4 (n1), ",
        "\n  last  task 6 (n33), ",
        'return {"n": float(path.name)}',
        "    ValueError: could not convert string to float: 'n1'",
        f"1 {TIMES} FileNotFoundError: no such file: …",
        "\n  task 7 (m1), ",
        f"everything about one of them: pipeloom show 4 --db {shlex.quote(str(ran))}",
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
    assert ask("errors", "--db", ran, "-n", 1)[2] == "1 shown, 1 more: -n 2  (1 task)\n"


def test_no_failures_is_said_plainly(write, ask, db):
    """In an empty ledger, and among done tasks."""
    write("task_runs", {"name": "a", "status": "done"})

    assert ask("errors", "--db", db)[:2] == (0, "no failures (1 done)\n")
    assert document(ask("errors", "--db", db, "--json")) == {
        "failures": 0,
        "kinds": 0,
        "groups": [],
        "total": 0,
        "more": False,
        "refused": 0,
        "again": None,
    }


def test_inputs_without_a_task_are_told_of(db, ask):
    """They failed, and are in no group; those of the last run, or of the one that is asked for."""
    pipeloom.map(str, [1, None, 2.5], db=db, workers=1, on_error="collect", progress=False)
    pipeloom.map(str, [1, None], db=db, on_error="collect", progress=False)

    _, out, _ = ask("errors", "--db", db)
    assert out.startswith("1 input was refused in the last run, for example:\n")
    assert "input 2 (None) has no key: a value of type NoneType" in out
    assert out.endswith("\nno other failures (1 done)\n")
    assert "2 inputs were refused in run 1, for example:" in ask("errors", "--db", db, "--run", 1)[1]
    assert document(ask("errors", "--db", db, "--json", "--run", 1))["refused"] == 2


def test_refused_inputs_are_called_so_by_the_run_and_by_the_list(db, ask):
    """The run names the command, which must not answer that nothing failed."""
    with pytest.raises(pipeloom.TasksFailedError) as raised:
        pipeloom.map(str, [1, None, None], db=db, progress=False)

    assert raised.value.message.startswith("2 of 3 tasks failed, because their inputs were refused: ")
    assert "pipeloom errors --db" in raised.value.message
    assert ask("errors", "--db", db)[1].startswith("2 inputs were refused in the last run")
    code, _, err = ask("errors", "--db", db, "--kind", "ValueError")
    assert code == 2
    assert "no task has failed; to list refused inputs: pipeloom errors --db" in err


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

    assert "3 tasks failed (one kind)" in ask("errors", "--db", ran)[1]
    assert "4 tasks failed in run 1 (2 kinds)" in ask("errors", "--db", ran, "--run", 1)[1]
    assert "no failures in run 2 (1 done)" in ask("errors", "--db", ran, "--run", 2)[1]


def test_one_kind_in_full(ran, ask):
    """By its id, or what it is called: the whole traceback, and its keys, as many as are wanted."""
    groups = document(ask("errors", ran, "--json"))["groups"]
    kind = groups[0]["kind"]

    for word in (kind, kind[:4], kind.upper(), "ValueError"):
        code, out, err = ask("errors", ran, "--kind", word, "-n", 2)
        assert code == 0
        assert out.startswith(f"3 tasks failed (one kind)\n\n3 {TIMES} ValueError: could not convert")
        assert "    Traceback (most recent call last):\n" in out
        assert "  keys:\n    in/n1\n    in/n2\n    … 1 more: -n 3, or --keys\n" in out
        assert f"which 3 inputs: pipeloom errors --kind {word} --keys --db " in out
        assert "FileNotFoundError" not in out
        assert err == ""
    told = document(ask("errors", ran, "--json", "--kind", "FileNotFoundError"))
    assert [group["exception"] for group in told["groups"]] == ["FileNotFoundError"]
    assert (told["failures"], told["total"], told["more"]) == (1, 1, False)


def test_a_first_look_says_how_to_get_the_keys_of_the_largest_kind(ran, ask):
    """With a command that works when it is copied."""
    out = ask("errors", ran)[1]
    (line,) = [line for line in out.splitlines() if line.startswith("which 3 inputs: pipeloom ")]

    assert ask(*shlex.split(line.partition(": pipeloom ")[2])) == (0, "in/n1\nin/n2\nin/n33\n", "")


def fail(item):
    """Fail in one way or another, by the item's kind."""
    raise ValueError("bad") if isinstance(item, str) else KeyError("worse")


ITEMS = ["a.csv", "two\nlines", Path("in/x"), 17, "17", ("t", 1), date(2026, 1, 31), "y" * 600, "\x1b[31mred"]


def test_keys_are_printed_for_programs(db, ask):
    """One a line, or each with a NUL behind it; as JSON, in which types survive."""
    pipeloom.map(fail, ITEMS, db=db, name="k", on_error="collect", progress=False, workers=1)

    code, out, err = ask("errors", db, "--keys", "--kind", "ValueError")
    assert (code, out) == (0, f"a.csv\ntwo\nlines\n17\n{'y' * 600}\n\x1b[31mred\n")
    assert err == "1 of the keys contain line breaks: use -0 or --json to separate them\n"
    assert ask("errors", db, "--keys", "-0")[1:] == (
        "\0".join(
            ["a.csv", "two\nlines", "in/x", "17", "17", '["t", 1]', "2026-01-31", "y" * 600, "\x1b[31mred", ""]
        ),
        "",
    )
    told = document(ask("errors", db, "--keys", "--json"))
    assert [row["item"] for row in told["keys"]] == [
        "a.csv", "two\nlines", "in/x", 17, "17", ["t", 1], "2026-01-31", "y" * 600, "\x1b[31mred",
    ]  # fmt: skip
    assert [row["key"] for row in told["keys"]][2:5] == ["path:in/x", 17, "17"]
    assert (told["total"], told["more"]) == (9, False)
    told = document(ask("errors", db, "--keys", "--json", "-n", 2))
    assert (len(told["keys"]), told["total"], told["more"]) == (2, 9, True)
    code, out, err = ask("errors", db, "--keys", "-n", 1)
    assert (out, err) == ("a.csv\n", "1 shown, 8 more: -n 9\n")


def test_keys_that_hold_what_ends_them_are_counted(db, ask):
    """Each would be taken for two."""
    pipeloom.map(fail, ["a\0b", "c"], db=db, name="k", on_error="collect", progress=False, workers=1)
    assert ask("errors", db, "--keys", "-0")[1:] == (
        "a\0b\0c\0",
        "1 of the keys contain NULs: use --json to separate them\n",
    )
    assert ask("errors", db, "--keys")[1:] == ("a\0b\nc\n", "")


def test_keys_of_a_run_that_was_made_good(ran, ask):
    """What failed in it, though a later one has done it."""
    pipeloom.map(lambda path: 1, [Path("in/m1")], db=ran, name="work", progress=False, durability="off")

    assert ask("errors", ran, "--keys")[1] == "in/n1\nin/n2\nin/n33\n"
    assert ask("errors", ran, "--keys", "--run", 1)[1] == "in/n1\nin/n2\nin/n33\nin/m1\n"
    assert ask("errors", ran, "--keys", "--run", 1, "--kind", "FileNotFoundError")[1] == "in/m1\n"
    assert ask("errors", ran, "--keys", "--run", 2)[1] == ""


def test_tasks_without_keys_are_told_of(write, ask, db):
    """They are known by number only."""
    write("task_runs", {"id": 1, "name": "a", "status": "error"}, {"id": 2, "name": "b", "status": "error"})

    assert ask("errors", db, "--keys") == (0, "", "2 tasks without a key: `pipeloom tasks` lists them by id\n")
    assert document(ask("errors", db, "--keys", "--json"))["keys"][0] == {"task": 1, "key": None, "item": None}


def test_keys_on_a_terminal_obey_nobody(db):
    """There each is harmless, and few are shown."""
    pipeloom.map(fail, ITEMS, db=db, name="k", on_error="collect", progress=False, workers=1)
    with PseudoTerminal(
        [sys.executable, "-m", "pipeloom", "errors", str(db), "--keys", "-n", "9"], columns=700
    ) as tty:
        assert tty.finish() == 0
        assert b"\\x1b[31mred" in tty.raw
        assert b"\x1b[31mred" not in tty.raw


def test_null_goes_with_keys(ran, ask):
    """It says nothing of a page."""
    assert ask("errors", ran, "-0")[0] == 2
