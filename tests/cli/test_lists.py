"""The commands that list what is in a file: what they say, in words and as JSON, and what they refuse."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli
from pipeloom.db import connect, init_schema
from pipeloom.errors import StorageError

AT = "2026-01-31T12:00:00.000+00:00"
TIMES = "\N{MULTIPLICATION SIGN}"
LISTS = ["status", "runs", "tasks", "errors"]
EVERY = [*((command,) for command in LISTS), ("show", "1"), ("logs", "1")]


def work(path: Path) -> object:
    """Fail for some paths, in two ways."""
    if path.name.startswith("n"):
        return {"n": float(path.name)}
    if path.name.startswith("m"):
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    return {"file": path.name, "parts": [1, 2]}


@pytest.fixture
def ran(db, monkeypatch):
    """A file after a real run of load.py: three tasks done, three failed alike, one otherwise."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "load.py"])
    paths = [Path("in") / name for name in ("a", "b", "c", "n1", "n2", "n33", "m1")]
    pipeloom.map(work, paths, db=db, name="work", on_error="collect", progress=False, durability="off", workers=1)
    return db


@pytest.fixture
def write(db):
    """Write rows by hand into a new ledger, or one that is there."""

    def writing(table, *rows):
        with closing(connect(db)) as conn:
            init_schema(conn, store_task_status=True)
            conn.execute("BEGIN")
            for row in rows:
                conn.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
                )
            conn.execute("COMMIT")
        return db

    return writing


@pytest.fixture
def ask():
    """Call a command in this process; returns (exit code, standard output, standard error)."""

    def asking(*words):
        done = CliRunner().invoke(cli, list(map(str, words)))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return asking


def typed(*words, **environment):
    """Type a command; returns its completed process."""
    return subprocess.run(
        [sys.executable, "-m", "pipeloom", *map(str, words)],
        capture_output=True, text=True, timeout=30, check=False, env=os.environ | environment,
    )  # fmt: skip


def document(outcome):
    """Return the one JSON document of a command that went well."""
    code, out, _ = outcome
    assert code == 0
    return json.loads(out)


# --- why did it fail? ---


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
    assert document(ask("errors", "--db", db, "--json")) == {"failures": 0, "kinds": 0, "groups": [], "again": None}


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


# --- one task ---


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

    assert "more lines: --json has them all)" in ask("show", 1, "--db", db)[1]
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


@pytest.mark.parametrize("command", ["show", "logs"])
def test_a_word_that_means_several_lists_them(ran, ask, command):
    """And the exit code says that the question was not answered."""
    code, out, _ = ask(command, "in/n", "--db", ran)
    assert code == 2
    assert "any of 3 tasks: say which by its id" in out
    assert all(name in out for name in ("n1", "n2", "n33"))

    code, out, _ = ask(command, "in/n", "--db", ran, "--json")
    assert code == 2
    assert len(json.loads(out)["matches"]) == 3


def test_a_number_that_is_also_a_key_says_so(write, ask, db):
    """Tasks over range(n) have numbers that are off by one from their keys."""
    write("pipeloom_pipelines", {"id": 1, "name": "p"})
    write("task_runs", *({"id": n, "name": "x", "status": "done", "pipeline_id": 1, "key": n - 1} for n in (1, 2)))
    out = ask("show", 1, "--db", db)[1]

    assert out.startswith("task 1 ")
    assert "1 was taken as a number; task 2 has the key 1" in out


# --- lists ---


def test_tasks_by_status_name_and_time(write, ask, db):
    """Options together; the status may be given more than once."""
    write(
        "task_runs",
        *(
            {"id": n, "name": f"file-{n}", "status": status, "elapsed_s": float(n)}
            for n, status in enumerate(["done", "error", "error", "cancelled"], 1)
        ),
    )

    def ids(*words):
        return [task["id"] for task in document(ask("tasks", "--db", db, "--json", *words))["tasks"]]

    assert ids() == [4, 3, 2, 1]
    assert ids("--status", "error", "-s", "cancelled", "--order", "oldest") == [2, 3, 4]
    assert ids("--name", "FILE-2") == [2]
    assert ids("--slower-than", "2.5", "--order", "slowest") == [4, 3]
    assert ids("-n", 1) == [4]
    assert "1 shown, there are more" in ask("tasks", "--db", db, "-n", 1)[1]
    assert ask("tasks", "--db", db, "--name", "nix")[1] == "no such tasks\n"


def test_runs_tells_how_each_ended(ran, ask):
    """The latest first; a run whose process is gone is called what it is."""
    with closing(sqlite3.connect(ran)) as conn:
        conn.execute(f"INSERT INTO pipeloom_runs (status, started_at, pid) VALUES ('running', '{AT}', 77)")
        conn.commit()
    out = ask("runs", "--db", ran)[1]
    told = document(ask("runs", "--db", ran, "--json"))["runs"]

    assert [run["status"] for run in told] == ["interrupted", "error"]
    assert told[0]["is_unclosed"]
    assert "run 2: process 77 ended without closing it; run again for the rest" in out
    assert "interrupted" in ask("status", "--db", ran)[1]


@pytest.mark.parametrize("command", LISTS)
def test_an_empty_ledger_is_listed(write, ask, db, command):
    """It is no error, and JSON stays JSON."""
    write("task_runs")

    assert ask(command, "--db", db)[0] == 0
    assert document(ask(command, "--db", db, "--json"))


WRONG = [
    (("show", "nix"), 2, "no task 'nix'"),
    (("logs", "nix"), 2, "no task 'nix'"),
    (("show", "9" * 30), 2, "no task"),
    (("tasks", "--run", "9"), 2, "no run 9: the latest is 1"),
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
    assert done.stderr.startswith(f"pipeloom: {db}: no such file")
    assert done.stderr.count("\n") == 1


# --- where it goes ---


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    """The documented line gives them their function."""
    document = (Path(__file__).parent.parent.parent / "docs" / "watching.md").read_text()

    assert f"_PIPELOOM_COMPLETE={shell}_source pipeloom" in document
    code = "import sys; sys.argv = ['pipeloom']; from pipeloom.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"_PIPELOOM_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "_pipeloom_completion" in done.stdout or "Shell completion is not supported" in done.stderr


def test_completion_knows_commands_and_choices():
    """What the function asks for while somebody types."""
    words = typed(_PIPELOOM_COMPLETE="bash_complete", COMP_WORDS="pipeloom tasks --status ", COMP_CWORD="3").stdout

    assert "plain,timed_out" in words
