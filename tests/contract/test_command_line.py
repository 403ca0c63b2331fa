"""The command line, as typed; ``demo``, ``run``, ``status``, ``init-db`` and ``examples``."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pipeloom.cli import main

AT = "2026-01-31T12:00:00+00:00"
STATUSES = "SELECT status, COUNT(*) FROM task_runs GROUP BY status"
LIMIT_S = 30


# --- a plain install ---


def test_the_command_is_installed():
    """``pipeloom`` is a console script of the package."""
    (script,) = entry_points(group="console_scripts", name="pipeloom")

    assert script.load() is main


PLAIN = """
import sys
from importlib.abc import MetaPathFinder

CORE = {"pipeloom", "rich", "click", "msgspec", "pygments", "markdown_it", "mdurl"} | set(sys.stdlib_module_names)

class Plain(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in CORE and not name.startswith("_"):
            raise ModuleNotFoundError(f"{name} is not part of a plain install", name=name)

sys.meta_path.insert(0, Plain())
from click.testing import CliRunner
from pipeloom.cli import cli
db = sys.argv[1]
for words in (["--help"], ["--version"], ["init-db", "--db", db], ["demo", "--db", db, "-n", "0"],
              ["status", "--db", db], ["status", "--db", db, "-f", "json"], ["run", "json:dumps", "--arg", "obj=1"],
              ["examples", "--help"], ["demo", "--help"], ["run", "--help"], ["status", "--help"]):
    outcome = CliRunner().invoke(cli, words)
    assert outcome.exit_code == 0, (words, outcome.output, outcome.exception)
"""


def test_every_command_works_without_optional_packages(child, db):
    """Nothing outside the declared dependencies is imported, neither at the start nor to do the work."""
    process = child("-c", PLAIN, db)
    _, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0, err


def test_usage_errors_are_code_two_and_name_the_option(invoked, tmp_path):
    """Whatever is typed wrongly, nothing is created."""
    for words, named in (
        (["demo"], "--db"),
        (["demo", "--db", tmp_path / "x.db", "-w", "0"], "workers"),
        (["demo", "--db", tmp_path / "x.db", "-n", "many"], "num-tasks"),
        (["status"], "--db"),
        (["status", "--db", tmp_path / "x.db", "-f", "xml"], "format"),
        (["init-db"], "--db"),
        (["demo", "--db", tmp_path / "x.db", "--db", tmp_path / "y.db"], "2 times"),
        (["examples", "file-writer", "--db", "x.db", "--db", "y.db"], "2 times"),
        (["demo", "--db", tmp_path / "x.db", "-w", "9" * 30], "workers"),
        (["tasks", "--db", tmp_path / "x.db", "--slower-than", "nan"], "nan is not"),
        (["doctor", "--db", tmp_path / "x.db", "--deadline", "NaN"], "NaN is not"),
        (["cancel", "--db", tmp_path / "x.db", "--timeout", "nan"], "nan is not"),
        (["run"], "FUNCTION"),
        (["no-such-command"], "no-such-command"),
    ):
        outcome = invoked(*words)
        assert outcome.exit_code == 2, (words, outcome.output)
        assert named in outcome.output, words
    assert list(tmp_path.iterdir()) == []


# --- demo ---


def test_demo_runs_for_real(typed, tmp_path, read):
    """With its pauses, in a process of its own."""
    code, out, err = typed("demo", "--db", "d.db", "-n", "2", "-w", "2")

    assert (code, err) == (0, "")
    assert "2 done" in out
    assert read(tmp_path / "d.db", "SELECT id, status, progress, message FROM task_runs") == [
        (1, "done", 1.0, "completed"),
        (2, "done", 1.0, "completed"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["-n", 3, "-w", 2, "-s", "-v", "-l"],
        ["--num-tasks", 3, "--workers", 2, "--store-task-status", "-vvv", "--log-file"],
    ],
    ids=["short", "long"],
)
def test_demo_takes_every_option(invoked, db, read, tmp_path, words):
    """Short and long; the log file is written."""
    log = tmp_path / "demo.log"
    outcome = invoked("demo", "--db", db, *words, log)

    assert outcome.exit_code == 0, outcome.output
    assert read(db, STATUSES) == [("done", 3)]
    assert read(db, "PRAGMA journal_mode") == [("wal",)]
    assert log.is_file()


def test_demo_without_a_log(invoked, db, read):
    """--no-wal leaves a rollback journal."""
    assert invoked("demo", "--db", db, "-n", "3", "--no-wal").exit_code == 0
    assert read(db, "PRAGMA journal_mode") == [("delete",)]
    assert read(db, STATUSES) == [("done", 3)]


# --- run ---

PROGRAM = """
from pathlib import Path
from pipeloom import TaskDef, run_pipeline
from pipeloom.messages import MsgTaskFinished, MsgTaskStarted

def worker(task, msg_q):
    msg_q.put(MsgTaskStarted(task.task_id, task.name, "2026-01-31T12:00:00+00:00"))
    msg_q.put(MsgTaskFinished(task.task_id, "done", "2026-01-31T12:00:01+00:00"))

def load(db: Path, count: int = 1, strict: bool = False, word="x"):
    assert isinstance(db, Path) and isinstance(strict, bool) and isinstance(word, str)
    run_pipeline([TaskDef(n, word) for n in range(1, count + 1)], db, worker_fn=worker)

def fall_over():
    raise ValueError("the reason")

def say():
    return "a result"
"""


@pytest.fixture
def program(tmp_path):
    """A user's module in the current directory."""
    (tmp_path / "mine.py").write_text(PROGRAM)


@pytest.mark.usefixtures("program")
def test_run_calls_a_function_with_arguments(typed, tmp_path, read):
    """Values are converted as annotated; one that holds "=" is passed whole."""
    code, _, err = typed("run", "mine:load", "--arg", "db=r.db", "--arg", "count=3", "--arg", "word=a=b")

    assert code == 0, err
    assert read(tmp_path / "r.db", "SELECT id, name, status FROM task_runs") == [
        (n, "a=b", "done") for n in (1, 2, 3)
    ]


@pytest.mark.usefixtures("program")
def test_run_shows_what_the_function_returns(typed):
    """On standard output."""
    assert typed("run", "mine:say")[:2] == (0, "a result\n")


@pytest.mark.usefixtures("program")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["mine:fall_over"], None, "the reason"),
        (["mine:nothing"], 2, "nothing"),
        (["nowhere:main"], 2, "nowhere"),
        (["mine:load"], 2, "db"),
        (["mine:load", "--arg", "db"], 2, "KEY=VALUE"),
        (["mine:load", "--arg", "db=x", "--arg", "count=many"], 2, "count"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_run_says_in_one_sentence_what_is_wrong(typed, words, code, said):
    """With a code that is not 0, and no traceback unless asked for."""
    found, _, err = typed("run", *words)

    assert found == code if code else found > 0
    assert said in err
    assert "Traceback" not in err


# --- init-db and examples ---


def test_init_db_makes_a_valid_empty_database(typed, invoked, tmp_path, read):
    """A second time it keeps what is there."""
    assert typed("init-db", "--db", "i.db")[0] == 0
    db = tmp_path / "i.db"
    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(0,)]
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("INSERT INTO task_runs (id, name, status, progress) VALUES (1, 'a', 'done', 1.0)")
        conn.commit()
    assert invoked("init-db", "--db", db).exit_code == 0

    assert read(db, STATUSES) == [("done", 1)]
    assert read(db, "PRAGMA integrity_check") == [("ok",)]


def test_the_flights_example_says_what_it_lacks(typed, tmp_path):
    """Where the data is not, in one sentence."""
    code, _, err = typed("examples", "flights", "--data", "nowhere", "--files", "files")

    assert code > 0
    assert "nowhere" in err
    assert "Traceback" not in err
    assert not Path(tmp_path / "flights.db").exists()
