"""What the commands that show a file have in common: what they refuse, and where their words go."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from pipeloom.errors import StorageError

from .commands import EVERY, LISTS, document, typed


@pytest.mark.parametrize("command", ["show", "logs"])
def test_a_word_that_means_several_lists_them(ran, ask, command):
    """And the exit code says that the question was not answered."""
    code, out, _ = ask(command, "in/n", "--db", ran)
    assert code == 2
    assert "matches 3 tasks: name one by its id" in out
    assert all(name in out for name in ("n1", "n2", "n33"))

    code, out, _ = ask(command, "in/n", "--db", ran, "--json")
    assert code == 2
    assert len(json.loads(out)["matches"]) == 3


@pytest.mark.parametrize("command", LISTS)
def test_an_empty_ledger_is_listed(write, ask, db, command):
    """It is no error, and JSON stays JSON."""
    write("task_runs")

    assert ask(command, "--db", db)[0] == 0
    assert document(ask(command, "--db", db, "--json"))


WRONG = [
    (("show", "nix"), 2, "no task matches 'nix'"),
    (("logs", "nix"), 2, "no task matches 'nix'"),
    (("show", "9" * 30), 2, "no task"),
    (("tasks", "--run", "9"), 2, "no run 9: the latest is 1; to list all runs: pipeloom runs --db "),
    (("errors", "--run", "9" * 30), 2, "no run"),
    (("tasks", "-n", "-1"), 2, "not in the range"),
    (("tasks", "--slower-than", "-1"), 2, "not in the range"),
    (("tasks", "--status", "nix"), 2, "is not one of"),
]


@pytest.mark.parametrize(
    ("words", "code", "sentence"), WRONG, ids=lambda value: "-".join(value)[:20] if isinstance(value, tuple) else ""
)
def test_what_is_not_there_is_said_in_one_sentence(ran, ask, words, code, sentence):
    """With the exit code for wrong usage."""
    found, out, err = ask(*words, "--db", ran)

    assert (found, out) == (code, "")
    assert sentence in err


@pytest.mark.parametrize("words", EVERY, ids=lambda words: words[0])
def test_what_is_no_ledger_is_refused(ask, tmp_path, words):
    """No file, a directory: a sentence that names it, and nothing is made."""
    for place, sentence in ((tmp_path / "none.db", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(StorageError, match=f"{place.name}: {sentence}"):
            ask(*words, "--db", place)
    assert not any(tmp_path.iterdir())


def test_it_is_said_in_one_line_with_the_exit_code_for_storage(db):
    """As typed."""
    done = typed("errors", "--db", db)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"pipeloom: {db}: no such file: check the path, or start a run first, which creates it\n"


@pytest.mark.parametrize("words", EVERY, ids=lambda words: words[0])
def test_a_missing_file_is_named_in_full_with_the_variable_that_named_it(ask, tmp_path, monkeypatch, words):
    """Typed as a relative path, or in the environment."""
    monkeypatch.chdir(tmp_path)
    place = f"{tmp_path / 'none.db'}: no such file: check the path, or start a run first, which creates it"
    with pytest.raises(StorageError) as raised:
        ask(*words, "--db", "none.db")
    assert str(raised.value) == place
    monkeypatch.setenv("PIPELOOM_DB", "none.db")
    with pytest.raises(StorageError) as raised:
        ask(*words)
    assert str(raised.value) == f"PIPELOOM_DB: {place}"


@pytest.mark.parametrize("words", [*EVERY, ("doctor",)], ids=lambda words: words[0])
@pytest.mark.parametrize("columns", [None, "40"])
def test_what_does_not_go_to_a_terminal_is_neither_wrapped_nor_padded(ran, words, columns):
    """A sentence stays on its line, whatever the width; a line does not end in spaces."""
    message = " ".join(f"word{n}" for n in range(40))
    with closing(sqlite3.connect(ran)) as conn:
        conn.execute("UPDATE task_runs SET message = ?", (message,))
        conn.commit()
    out = typed(*words, "--db", ran, **({} if columns is None else {"COLUMNS": columns})).stdout

    assert out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    if words[0] == "show":
        assert f"{message}\n" in out
    if words[0] == "doctor":
        assert f"\n{ran} is healthy" in out
        assert "no run is in progress; the latest, run 1 of work, ended as error\n" in out


def test_foreign_text_obeys_nobody(write, ask, db):
    """Escape sequences, markup and line breaks are shown, not done."""
    evil = "\x1b[2J[red]\nx\u202e"
    write("pipeloom_pipelines", {"id": 1, "name": evil})
    write("pipeloom_runs", {"id": 1, "pipeline_id": 1, "status": evil, "started_at": evil, "command": evil})
    write(
        "task_runs",
        {
            "id": 1, "name": evil, "status": "error", "message": evil, "started_at": evil, "finished_at": evil,
            "pipeline_id": 1, "key": evil, "run_id": 1, "worker": evil, "error": f"{evil}\nEvil: {evil}",
        },
    )  # fmt: skip
    write(
        "pipeloom_logs", {"task_id": 1, "at": evil, "level": evil, "logger": evil, "message": evil, "error": evil}
    )
    write("pipeloom_rejected", {"task_id": 1, "at": evil, "kind": evil, "content": evil, "error": evil})
    for words in EVERY:
        for form in ((), ("--json",)):
            code, out, _ = ask(*words, "--db", db, *form)
            assert code == 0
            assert not set(out) & {"\x1b", "\u202e"}
            assert "[red]" in out or words == ("runs",)


def test_a_terminal_without_these_letters_shows_their_escapes(ran):
    """Latin-1, ASCII: what cannot be shown is no error."""
    done = typed("errors", "--db", ran, PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, "")
    assert "3 \\xd7 ValueError" in done.stdout


@pytest.mark.parametrize("command", [*LISTS, "show"])
def test_eighty_columns_are_enough(ran, command):
    """Tables fit; colours appear on a terminal only."""
    with closing(sqlite3.connect(ran)) as conn:
        conn.execute(
            "UPDATE task_runs SET name = name || '-a-rather-long-name-of-a-file', message = message || ?",
            ("…" * 99,),
        )
        conn.commit()
    words = [command, *(["4"] if command == "show" else []), "--db", str(ran)]
    lines = typed(*words, COLUMNS="80").stdout.splitlines()
    tables = [line for line in lines if command in ("tasks", "status") and re.match(r" *\d+  ", line)]

    assert "\x1b" not in "".join(lines)
    assert all(len(line) <= 80 for line in tables)
    assert len(tables) == {"tasks": 7, "status": 7}.get(command, 0)
    assert all(re.search(r"  (error|done)  ", line) for line in tables)  # no column but the last two gives way
    assert "\x1b[" in on_terminal(words)


def on_terminal(words):
    """Run a command on a pseudo-terminal of 80 columns; returns what it sent."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "pipeloom", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        sent = b""
        try:
            while piece := os.read(ours, 65536):
                sent += piece
        except OSError:  # the other side is closed
            pass
        finally:
            os.close(ours)
        assert process.wait(20) == 0
    return sent.decode()


@pytest.mark.outputs
@pytest.mark.parametrize("words", [("tasks",), ("tasks", "--json"), ("show", "4")], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(write, db, words):
    """As with ``| head -1``."""
    rows = ({"name": "a" * 200, "status": "error", "message": "m" * 400, "error": "x\n" * 900} for _ in range(900))
    write("task_runs", *rows)
    command = [
        sys.executable,
        "-m",
        "pipeloom",
        *words,
        "--db",
        str(db),
        *(["-n", "900"] if "tasks" in words else []),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()

    assert (process.returncode, err) == (0, "")


def test_json_never_loads_rich(ran):
    """It costs as long as the rest together."""
    code = (
        "import sys; from click.testing import CliRunner; from pipeloom.cli import cli\n"
        f"for words in {EVERY}:\n"
        f"    done = CliRunner().invoke(cli, [*words, '--json', '--db', {str(ran)!r}])\n"
        "    print(words[0], done.exit_code, 'rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.splitlines() == [f"{words[0]} 0 False" for words in EVERY]
