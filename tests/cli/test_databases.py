"""Which database a command is about: by its path, ``--db`` or the environment."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from pipeloom.cli import cli

WITH_ROOM = [
    "cancel",
    "doctor",
    "errors",
    "init-db",
    "metadata",
    "report",
    "runs",
    "status",
    "tasks",
    "watch",
    "web",
]


@pytest.fixture
def there(write, db, monkeypatch):
    """A file with two tasks of the same key and another one, in the current directory."""
    monkeypatch.chdir(db.parent)
    write("task_runs", {"id": 1, "name": "a", "status": "error"}, {"id": 2, "name": "b", "status": "done"})
    return db


@pytest.mark.parametrize("words", [["status"], ["runs"], ["tasks"], ["errors"], ["show", "1"], ["logs", "1"]])
def test_a_database_may_be_named_in_three_ways(there, ask, monkeypatch, words):
    """They show the same."""
    by_option = ask(*words, "--db", there.name)
    monkeypatch.setenv("PIPELOOM_DB", there.name)
    ways = [ask(*words, there.name), ask(*words, there.name, "--db", there), ask(*words)]

    assert by_option[0] == 0
    for _, out, err in ways:
        # What is to be typed next names the file as it was named.
        assert (out.replace(str(there), there.name), err) == by_option[1:]


def test_the_command_line_goes_before_the_environment(there, ask, monkeypatch):
    """Whichever way it names the file; a variable that is empty names none."""
    monkeypatch.setenv("PIPELOOM_DB", "nonesuch.db")

    assert ask("status", "--db", there)[0] == 0
    assert ask("status", there)[0] == 0
    monkeypatch.setenv("PIPELOOM_DB", "")
    assert "no database was named" in ask("status")[2]


def test_every_command_takes_the_database_in_its_place():
    """Or else by ``--db`` alone, where its own arguments leave no room."""
    for name in cli.list_commands(None):
        command = cli.get_command(None, name)
        options = {word for part in command.params for word in part.opts}
        assert ("db_word" in options) == (name in (*WITH_ROOM, "demo", "logs", "show")), name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["status"], "named: use its path (pipeloom status out.db), --db PATH or the variable PIPELOOM_DB"),
        (["show", "1"], "use its path (pipeloom show TASK out.db), --db PATH or the variable PIPELOOM_DB"),
        (["forget", "1"], "no database was named: use --db PATH or the variable PIPELOOM_DB"),
        (["demo"], "no database was named: use its path (pipeloom demo out.db) or --db PATH"),
        (["status", "a.db", "--db", "b.db"], "two databases were named, a.db and --db b.db: name only one"),
        (["status", "--db", "a.db", "--db", "b.db"], "--db was given 2 times: name one database"),
        (["status", "file:a.db"], "must be a path"),
    ],
)
def test_what_names_no_database_or_two(ask, words, sentence):
    """Is refused in a sentence that says how to go on."""
    code, _, err = ask(*words)

    assert code == 2
    assert sentence in err


def test_a_variable_that_names_no_file(ask, monkeypatch):
    """The sentence says where that came from."""
    monkeypatch.setenv("PIPELOOM_DB", "file:x.db")

    assert "PIPELOOM_DB: file:x.db: the database must be a path" in ask("status")[2]


def test_the_demo_leaves_the_file_of_the_variable_alone(there, ask, monkeypatch):
    """Its tasks would take the numbers of those that are in there."""
    monkeypatch.setenv("PIPELOOM_DB", str(there))

    assert ask("demo", "-n", 1)[0] == 2


def test_task_and_database_in_the_other_order(there, ask):
    """It is said what to type."""
    code, _, err = ask("show", there.name, "1")

    assert code == 2
    assert f"1: no such file; the task comes first: pipeloom show 1 {there.name}" in err


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("name", ["it's here.db", "a\nb.db", "\x1b[31m$HOME `x`.db", "\u202e\x9b.db", "-x.db"])
def test_what_is_to_be_typed_next_works_when_it_is_copied(there, ask, name):
    """Whatever the file is called; and no terminal obeys it."""
    there.rename(there.with_name(name))
    out = ask("status", "--db", name)[1]
    (line,) = [line for line in out.splitlines() if line.startswith("why they failed: pipeloom ")]
    words = line.partition(": pipeloom ")[2]
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, text=True, timeout=30, check=True,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
    )  # fmt: skip

    assert line.isprintable()
    assert done.stdout.split("\0")[:-1] == ["errors", "--db", name]
