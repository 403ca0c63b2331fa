"""What plain SQL and Datasette see of a ledger, while the run that writes it is going on."""

from __future__ import annotations

import hashlib
import html
import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli

ABOUT = json.loads((files("pipeloom") / "datasette.json").read_text(encoding="utf-8"))
PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "query.md").read_text(encoding="utf-8")
PRINTED = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
LIMIT_S = 30


class Going:
    """A run that waits in the middle: two tasks are running, one has failed, one was tried again."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self.gate = threading.Event()
        self.report: pipeloom.RunReport | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        retry = pipeloom.Retry(attempts=2, delay_s=0.01, on=OSError)
        self.report = pipeloom.map(
            self._task,
            range(8),
            db=self.db,
            name="going",
            workers=4,
            own_rows=["my parts"],
            retries=retry,
            on_error="collect",
            progress=False,
        )

    def _task(self, n: int, ctx: pipeloom.TaskContext) -> int:
        pipeloom.logger.warning("task %d", n)
        ctx.progress(1, 4, "at work")
        ctx.write("things", {"n": n, "square": n * n})
        ctx.write("my parts", {"part": n})
        if n == 0:
            raise ValueError("never goes well")
        if n == 1 and ctx.attempt == 1:
            raise OSError("goes well the second time")
        if n in (6, 7):
            assert self.gate.wait(LIMIT_S)
        return n

    def start(self) -> None:
        self.thread.start()
        wait_until(lambda: self.counts() == {"done": 5, "error": 1, "running": 2})

    def counts(self) -> dict[str, int]:
        try:
            return dict(ask(self.db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status"))
        except sqlite3.Error:  # not made yet
            return {}

    def finish(self) -> pipeloom.RunReport:
        self.gate.set()
        self.thread.join(LIMIT_S)
        assert self.report is not None
        return self.report


def wait_until(is_so) -> None:
    deadline = monotonic() + LIMIT_S
    while not is_so():
        assert monotonic() < deadline
        threading.Event().wait(0.02)


def ask(db: Path, sql: str, kind: str = "") -> list[tuple]:
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
        return conn.execute(sql, {"kind": kind}).fetchall()


@pytest.fixture(scope="module")
def going(tmp_path_factory):
    """A run that is going on during all tests of this file."""
    going = Going(tmp_path_factory.mktemp("going") / "my run.db")
    going.start()
    yield going
    going.finish()


@pytest.mark.parametrize("name", sorted(ABOUT["queries"]))
def test_every_query_has_rows(going, name):
    """On a run that is going on."""
    assert ask(going.db, ABOUT["queries"][name]["sql"])


def test_the_queries_are_right(going):
    """What was done, what failed, what runs, what was tried again."""
    ((run, pipeline, status, expected, _, *counts, seconds, _),) = ask(
        going.db, ABOUT["queries"]["progress"]["sql"]
    )
    assert (run, pipeline, status, expected, counts) == (1, "going", "running", 8, [5, 1, 2, 0, 10])
    assert 0 <= seconds < 600
    failures = ask(going.db, ABOUT["queries"]["failures"]["sql"])
    ((*kind, place, task, one, _, kind_id),) = failures
    assert kind == [1, "error", "ValueError", "never goes well"]
    assert (place.endswith("in _task"), task, one) == (True, 1, "0")
    ((number, *_, kind_of_task),) = ask(going.db, ABOUT["queries"]["tasks_of_a_kind"]["sql"], kind=kind_id)
    assert (number, kind_of_task) == (1, kind_id)
    assert not ask(going.db, ABOUT["queries"]["tasks_of_a_kind"]["sql"], kind="none")
    assert [row[5:8:2] for row in ask(going.db, ABOUT["queries"]["retries"]["sql"])] == [
        ("goes well the second time", "done")
    ]
    running = ask(going.db, ABOUT["queries"]["running"]["sql"])
    assert sorted((row[1], row[3], row[4]) for row in running) == [("6", 25, "at work"), ("7", 25, "at work")]
    assert sum(row[1] for row in ask(going.db, ABOUT["queries"]["throughput"]["sql"])) == 6


def test_every_query_that_is_printed_has_rows(going):
    """Those in the documentation."""
    assert len(PRINTED) >= 5
    for block in PRINTED:
        for sql in filter(str.strip, block.split(";")):
            assert ask(going.db, sql), sql


def test_it_describes_what_there_is_and_all_of_it(going):
    """Every table and view of the ledger, and no column that is not there."""
    sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name GLOB '*[a-z]_[a-z]*'"
    ours = {name for (name,) in ask(going.db, sql) if name == "task_runs" or name.startswith("pipeloom_")}

    assert set(ABOUT["tables"]) == ours
    for table, said in ABOUT["tables"].items():
        assert said["title"]
        assert said["description"]
        columns = {row[1] for row in ask(going.db, f"PRAGMA table_info({table})")}
        named = {*said.get("columns", ()), *said.get("units", ()), *said.get("facets", ())}
        named |= {said[word] for word in ("label_column", "sort", "sort_desc") if word in said}
        assert named <= columns, table


def test_metadata_is_printed_for_the_name_of_the_database():
    """Datasette knows it by its stem."""
    outcome = CliRunner().invoke(cli, ["metadata", "--db", "some/where/my run.v2.db"])

    assert outcome.exit_code == 0
    assert json.loads(outcome.output) == {"databases": {"my run.v2": ABOUT}}


def test_tables_whose_rows_know_their_task_are_joined_to_it(going):
    """By a query of their own, of all tasks or of one."""
    (about,) = printed(going.db)["databases"].values()
    query = about["queries"]["tasks_of_my parts"]["sql"]
    with closing(sqlite3.connect(f"file:{going.db}?mode=ro", uri=True)) as conn:
        every = conn.execute(query, {"task": ""}).fetchall()
        one = conn.execute(query, {"task": str(every[0][0])}).fetchall()

    assert len(every) == 5
    assert one == [every[0]]
    assert every[0][1:3] == (str(every[0][3]), "done")
    assert about["tables"]["my parts"]["columns"].keys() == {"_task_id"}
    assert "things" not in about["tables"]


def printed(db: Path) -> dict:
    return json.loads(CliRunner().invoke(cli, ["metadata", str(db)]).output)


# --- Datasette itself ---

needs_datasette = pytest.mark.skipif(
    find_spec("datasette") is None, reason="datasette is not installed (extra dev)"
)


def explained(about: Path) -> list[str]:
    """Return how a Datasette takes what is printed: 1.0 has parted metadata from configuration."""
    from datasette import __version__

    words = ["-m", str(about)]
    return words if __version__.startswith("0.") else [*words, "-c", str(about)]


@pytest.fixture(scope="module")
def pages(going, tmp_path_factory):
    """Datasette on the file of the run that is going on; returns what it answers to a path."""
    about = tmp_path_factory.mktemp("about") / "metadata.json"
    about.write_text(json.dumps(printed(going.db)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    words = [sys.executable, "-m", "datasette", "serve", str(going.db), *explained(about), "-p", str(port)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(path: str) -> str:
        url = f"http://127.0.0.1:{port}{path}"
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=LIMIT_S) as answer:
            return answer.read().decode()

    def answers() -> bool:
        assert server.poll() is None
        try:
            return bool(get("/-/versions.json"))
        except (urllib.error.URLError, ConnectionError):
            return False

    try:
        wait_until(answers)
        yield get
    finally:
        server.terminate()
        server.wait(LIMIT_S)


@needs_datasette
@pytest.mark.slow
def test_datasette_answers_every_query_and_shows_every_table(going, pages):
    """With the descriptions, while the run is going on."""
    for name, query in ABOUT["queries"].items():
        assert json.loads(pages(f"/my~20run/{name}.json?_shape=array")), name
        page = html.unescape(pages(f"/my~20run/{name}"))
        assert query["title"] in page
        assert query["description"] in page
    assert json.loads(pages("/my~20run/tasks_of_my~20parts.json?_shape=array&task=2"))[0]["task_id"] == 2
    for table, said in ABOUT["tables"].items():
        page = html.unescape(pages(f"/my~20run/{table}"))
        assert said["title"] in page
        assert said["description"] in page
        assert all(words in page for words in said.get("columns", {}).values()), table
    front = pages("/my~20run")
    assert "Progress of the latest run" in front
    listed = {
        table["name"]: table["hidden"] for table in json.loads(pages("/my~20run.json?_show_hidden=1"))["tables"]
    }
    assert {name for name, hidden in listed.items() if hidden} >= {"pipeloom_meta", "pipeloom_state"}
    assert not listed["task_runs"]
    assert not listed["things"]


@needs_datasette
@pytest.mark.slow
def test_datasette_neither_disturbs_the_run_nor_changes_the_file(pages, tmp_path):
    """It reads all the time while a run writes; of a finished file not a byte changes."""
    going = Going(tmp_path / "other.db")
    going.start()
    about = tmp_path / "about.json"
    about.write_text(json.dumps(printed(going.db)))
    words = [sys.executable, "-m", "datasette", str(going.db), *explained(about)]
    words += ["--get", "/other/progress.json?_shape=array"]

    def look() -> dict:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=True)
        return json.loads(done.stdout)[0]

    assert (look()["status"], look()["done"]) == ("running", 5)
    report = going.finish()
    assert (report.done, report.failed) == (7, 1)
    before = hashlib.sha256(going.db.read_bytes()).hexdigest()
    assert (look()["status"], look()["done"]) == ("error", 7)
    assert hashlib.sha256(going.db.read_bytes()).hexdigest() == before
    assert ask(going.db, "PRAGMA integrity_check") == [("ok",)]
    assert ask(going.db, "SELECT COUNT(*) FROM things") == [(7,)]
