"""For pipes and programs: plain lines, and JSON per change."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from time import monotonic

import pytest

import pipeloom
from pipeloom.cli.watching import plain
from pipeloom.cli.watching.plain import as_json, line, watch_json, watch_lines
from pipeloom.cli.watching.scene import Scene


def heard(watch, path, enough, monkeypatch, then=lambda _: None):
    """Watch until ``enough`` says so of what was said; ``then`` is called after every line."""
    monkeypatch.setattr(plain, "_LOOK_S", 0.01)
    said, deadline = [], monotonic() + 20

    def say(text):
        assert monotonic() < deadline, said
        if text:
            said.append(text)
            then(said)
        return not enough(said)

    watch(path, say)
    return said


def test_json_says_a_line_per_change(db, held, monkeypatch):
    """Waiting, running with its tasks, ended with its totals; not a line more while nothing changes."""
    assert heard(watch_json, db, len, monkeypatch)
    with held(range(6), fails=(1,)) as end:
        lines = heard(watch_json, db, lambda said: said and said[-1].count("half way") == 6, monkeypatch)
        seen = json.loads(lines[-1])
        assert (seen["state"], seen["run"]["status"], seen["counts"]) == ("running", "running", {"running": 6})
        assert [task["progress"] for task in seen["running"]] == [0.5] * 6
        looks = iter(range(30))
        again = heard(watch_json, db, lambda _: next(looks) >= 29, monkeypatch)
        assert len(again) == 1
        end()
    (last,) = heard(watch_json, db, len, monkeypatch)
    seen = json.loads(last)
    assert seen["state"] == "ended"
    assert (seen["run"]["done"], seen["run"]["failed"]) == (5, 1)
    assert [task["message"] for task in seen["failures"]] == ["no 1"]


def test_json_tells_waiting_from_unreadable(scene):
    """So that a program need not read sentences; hostile text is escaped."""
    assert as_json(scene)["state"] == "running"
    assert (
        as_json(replace(scene, trouble="the file /a.db does not exist yet: check the path; waiting for it…"))[
            "state"
        ]
        == "waiting"
    )
    assert as_json(replace(scene, trouble="cannot read the file: locked"))["state"] == "unreadable"
    assert as_json(Scene("out.db"))["state"] == "idle"
    assert json.dumps(as_json(scene)).isascii()


def test_lines_say_what_happens(db, monkeypatch):
    """The file is not there, then a run has ended; one line each."""

    def then(said):
        if len(said) == 1:
            pipeloom.map(str, range(3), db=db, name="load", progress=False)

    first, second = heard(watch_lines, db, lambda said: len(said) == 2, monkeypatch, then)
    assert first == f"{db}: the file {db} does not exist yet: check the path; waiting for it… (Ctrl-C stops)"
    assert second.startswith("load, run 1: 3/3 · finished · 3 done · took ")
    assert second.endswith("/s on average · waiting for the next run")


def test_a_line_now_and_then_while_a_run_goes_on(db, held, monkeypatch):
    """Although nothing changes."""
    monkeypatch.setattr(plain, "_LINE_S", 0.05)
    with held(range(6)):
        said = heard(watch_lines, db, lambda said: len(said) >= 3, monkeypatch)
    assert all(text.startswith("load, run 1 running: 0/6 · 0 done · 0/s · ") for text in said)


def test_lines_are_harmless(scene, run):
    """Whatever the file or the pipeline is called."""
    for seen in (
        replace(scene, run=run(pipeline="a\x1b[2J\nb", status="x\x07"), note="replaced"),
        replace(scene, path="a\nb", trouble="cannot read the file: \x1b"),
        replace(scene, run=None, counts={"odd\x1b": 3}),
    ):
        assert line(seen, 1000.0).isprintable()


@pytest.mark.outputs
def test_a_closed_pipe_ends_it(db):
    """Although nothing is ever said again."""
    pipeloom.map(str, range(3), db=db, name="load", progress=False)
    command = [sys.executable, "-m", "pipeloom", "watch", "--db", str(db), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["state"] == "ended"
        process.stdout.close()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_json_never_loads_rich(db):
    """It is for programs, and Rich alone costs 80 ms."""
    code = (
        "import sys; from pipeloom.cli import watch\n"
        "said = []\n"
        "watch._say = lambda line: said.append(line) if line else not said\n"
        "watch.command.callback(db=(__import__('pathlib').Path(sys.argv[1]),), as_json=True)\n"
        "print(len(said), [name for name in sys.modules if name.split('.')[0] == 'rich'])"
    )
    done = subprocess.run([sys.executable, "-c", code, db], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "1 []"
