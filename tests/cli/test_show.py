"""``pipeloom show``: everything about one task."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

import pipeloom

from .commands import AT, document


@pytest.mark.parametrize("word", ["4", "path:in/n1", "in/n1", "n1"])
def test_show_tells_everything_about_one_task(ran, ask, word):
    """By number, key or name."""
    code, out, _ = ask("show", word, "--db", ran)

    assert code == 0
    for words in (
        "task 4  n1",
        "error",
        "path:in/n1",
        "work",
        "run       1, try 1",
        "Traceback (most recent call last)",
    ):
        assert words in out, out


def test_show_lays_a_result_out(ran, ask):
    """JSON with indents; text as it is."""
    out = ask("show", "a", "--db", ran)[1]

    assert '  {\n    "file": "a",\n    "parts": [\n      1,' in out


def test_show_cuts_what_is_very_long(write, ask, db):
    """On the screen; JSON has it all."""
    result = json.dumps(list(range(5000)))
    write("task_runs", {"id": 1, "name": "a", "status": "done", "result": result})

    assert "more lines: --json shows them all)" in ask("show", 1, "--db", db)[1]
    assert document(ask("show", 1, "--db", db, "--json"))["task"]["result"] == result


def test_show_has_tries_logs_and_refused_messages(write, ask, db):
    """What happened along the way."""
    write("task_runs", {"id": 1, "name": "a", "status": "done", "run_id": 2, "attempt": 1})
    write(
        "pipeloom_attempts", {"task_id": 1, "run_id": 1, "attempt": 1, "status": "timed_out", "message": "too slow"}
    )
    write("pipeloom_logs", {"task_id": 1, "at": AT, "level": "WARNING", "logger": "my.log", "message": "odd row"})
    write("pipeloom_rejected", {"task_id": 1, "at": AT, "kind": "MsgMine", "content": "c", "error": "no column x"})
    write("pipeloom_state", {"task_id": 1, "at": AT, "state": "{}"})
    out = ask("show", 1, "--db", db)[1]
    told = document(ask("show", 1, "--db", db, "--json"))

    for words in (
        "2 tries",
        "timed_out",
        "too slow",
        "WARNING",
        "my.log",
        "odd row",
        "MsgMine: no column x",
        "checkpoint",
    ):
        assert words in out, out
    assert [row["status"] for row in told["attempts"]] == ["timed_out", "done"]
    assert (told["logs"][0]["level"], told["rejected"][0]["kind"]) == ("WARNING", "MsgMine")


def test_rows_are_those_of_the_attempt(ask, db):
    """What an earlier attempt stored at its checkpoint is told with that attempt; nothing seems lost."""

    def work(item, ctx):
        if ctx.state is None:
            ctx.write("t", [{"n": n} for n in range(3000)])
            ctx.checkpoint(3000)
            raise ValueError("once")
        ctx.write("t", [{"n": n} for n in range(2000)])

    pipeloom.map(work, ["a"], db=db, on_error="collect", progress=False, name="w")
    first = ask("show", 1, "--db", db)[1]
    pipeloom.map(work, ["a"], db=db, on_error="collect", progress=False, name="w")
    out = ask("show", 1, "--db", db)[1]

    assert re.search(r"^  rows +3,000 *$", first, re.MULTILINE)
    assert re.search(r"^  rows +2,000 in this attempt *$", out, re.MULTILINE)
    assert re.search(r"^ +1 +1  error .* 3,000  ", out, re.MULTILINE)
    assert re.search(r"^ +2 +1  done .* 2,000", out, re.MULTILINE)


def test_a_number_that_is_also_a_key_says_so(write, ask, db):
    """Tasks over range(n) have numbers that are off by one from their keys."""
    write("pipeloom_pipelines", {"id": 1, "name": "p"})
    write("task_runs", *({"id": n, "name": "x", "status": "done", "pipeline_id": 1, "key": n - 1} for n in (1, 2)))
    out = ask("show", 1, "--db", db)[1]

    assert out.startswith("task 1 ")
    assert "1 was read as an id; task 2 has the key 1" in out


def test_the_version_of_an_input_is_shown(db, ask):
    """As it is stored, in words and as a document; a file of an older version has none."""
    pipeloom.map(str, ["a"], db=db, version=lambda item: (5, "x"), name="v", progress=False)
    assert '[5,"x"]' in ask("show", "--db", db, "a")[1]
    assert document(ask("show", "--db", db, "a", "--json"))["task"]["version"] == '[5,"x"]'

    with closing(sqlite3.connect(db)) as conn:
        conn.execute("ALTER TABLE task_runs DROP COLUMN version")
        conn.execute("DELETE FROM pipeloom_meta WHERE key = 'versions'")
        conn.commit()
    assert document(ask("show", "--db", db, "a", "--json"))["task"]["version"] is None
