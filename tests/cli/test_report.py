"""``pipeloom report``, as typed."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli
from pipeloom.history import History

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m\x00\u202e\"'&"


@pytest.fixture
def report(db, tmp_path, monkeypatch):
    """Type ``pipeloom report --db …`` in ``tmp_path``; returns Click's result."""
    monkeypatch.chdir(tmp_path)

    def run(*words, path=db):
        return CliRunner().invoke(cli, ["report", "--db", str(path), *map(str, words)])

    return run


@pytest.fixture
def typed(tmp_path):
    """Type ``pipeloom …`` in a process of its own; returns exit code, standard output and standard error."""

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "pipeloom", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


class Page(HTMLParser):
    """A page as a browser reads it: its elements, their attributes, its text."""

    VOID = {"meta", "br", "img", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self._open = [], [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.words += data


def some(record, **run):
    """Record five tasks: three done, one after a retry, one failed, one out of time."""
    return record(
        [
            {"id": 1, "status": "error", "past": True, "error": "Traceback", "message": "first"},
            {"id": 1, "attempt": 2, "start": 2.0},
            {"id": 2, "rows_written": 7, "took": 3.0},
            {"id": 3},
            {
                "id": 4,
                "status": "error",
                "message": "no such file",
                "error": 'File "a.py", line 3\nOSError: no such',
            },
            {"id": 5, "status": "timed_out", "message": "took longer than 5 s"},
        ],
        **{
            "done": 3,
            "failed": 1,
            "timed_out": 1,
            "expected": 5,
            "status": "error",
            "command": "python a.py",
            **run,
        },
    )


def test_report_writes_a_page_and_says_where(report, record, tmp_path):
    """In the current directory, named after the database and the run; nothing else is left there."""
    some(record)
    outcome = report()

    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("out-run-1.html: run 1, ")
    # SQLite's own files stay beside a database that was opened for reading only.
    left = {path.name for path in tmp_path.iterdir()} - {"out.db", "out.db-wal", "out.db-shm"}
    assert left == {"out-run-1.html"}
    words = Page((tmp_path / "out-run-1.html").read_text()).words
    for word in ("Run 1", "2 of 5 tasks failed", "no such file", "OSError", "thread-1", "python a.py", "task-2"):
        assert word in words, word


def test_totals_are_the_ledgers(report, record, db):
    """On the page as in the JSON."""
    some(record)
    page = report("-o", "-").output
    told = json.loads(report("--json").output)
    shown = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page))

    assert (shown["Done"], shown["Failed"], shown["Timed out"], shown["Rows written"]) == ("3", "1", "1", "7")
    with closing(sqlite3.connect(db)) as conn:
        assert told["figures"]["attempts"] == dict(
            conn.execute("SELECT status, COUNT(*) FROM pipeloom_history GROUP BY status").fetchall()
        )
    assert told["run"]["done"] == 3
    assert (told["figures"]["again"], told["figures"]["recovered"]) == (1, 1)
    assert sum(group["count"] for group in told["failures"]) == 2
    assert (told["more_kinds"], told["more_tasks"]) == (0, 0)


@pytest.fixture
def run_of_failures(db):
    """Run tasks of which the first 30 fail alike, and each of so many more in a way of its own."""

    def run(others):
        def work(n):
            if n < 30:
                raise KeyError("price")
            raise type(f"Odd{n}Error", (Exception,), {})("odd")

        pipeloom.map(work, range(30 + others), db=db, name="work", workers=1, progress=False, on_error="collect")

    return run


def test_a_kind_of_failure_shows_its_place_its_ends_and_some_names(report, run_of_failures):
    """And says what it leaves out, with the command for that."""
    run_of_failures(0)
    words = Page(report("-o", "-").output).words

    (kind,) = json.loads(report("--json").output)["failures"]
    assert "30\N{MULTIPLICATION SIGN}" in words
    assert "KeyError: 'price'at " in words
    assert "test_report.py:" in words
    for end, name in (("First", "0"), ("Last", "29")):
        assert re.search(rf"{end}: {name} \(task \d+\), ended 20", words)
    how = f"pipeloom errors --keys --run 1 --db out.db --kind {kind['kind']}"
    assert f"20 of them, 10 not shown, list all with {how}:" in words
    assert words.index("Failures") < words.index("Timeline")


def test_many_kinds_are_folded_and_the_rest_is_counted(report, run_of_failures):
    """Eight are seen at once, fifty in all."""
    run_of_failures(52)
    words = Page(report("-o", "-").output).words
    told = json.loads(report("--json").output)

    assert "42 more kinds of failure, 42 tasks" in words
    assert "Not shown: 3 more kinds, 3 tasks." in words
    assert (len(told["failures"]), told["more_kinds"], told["more_tasks"]) == (50, 3, 3)
    assert max(len(line) for line in words.splitlines()) < 20_000


def test_run_picks_an_earlier_one(report, record):
    """By its number."""
    some(record)
    record([{"id": 9}], done=1)

    assert "task-9" in report("-o", "-").output
    assert "task-9" not in report("--run", 1, "-o", "-").output


def test_the_page_loads_and_runs_nothing(report, record):
    """No script, no address of another place; a policy that would forbid it; only the styles that it admits."""
    some(record)
    page = report("-o", "-").output
    read = Page(page)

    assert not set(read.tags) & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "a"}
    for tag, name, value in read.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "href", "style", "action", "srcset"), (tag, name)
        assert name == "xmlns" or "//" not in (value or ""), (tag, name, value)
    assert re.findall(r"url\((?!#)|@import|@font-face", page) == []
    policy = next(value for _, name, value in read.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_foreign_text_is_inert(report, record, db):
    """Names, messages, tracebacks, workers, the pipeline and how it was started: all are text."""
    assert CliRunner().invoke(cli, ["init-db", "--db", str(db)]).exit_code == 0
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("INSERT INTO pipeloom_pipelines (id, name) VALUES (1, ?)", (HOSTILE,))
        conn.commit()
    record(
        [
            {
                "name": HOSTILE,
                "worker": HOSTILE,
                "status": status,
                "message": HOSTILE,
                "error": f"{HOSTILE}\n{HOSTILE}",
            }
            for status in ("done", "error", HOSTILE)
        ],
        pipeline_id=1,
        command=HOSTILE,
        host=HOSTILE,
        executor=HOSTILE,
        versions=json.dumps({HOSTILE: HOSTILE}),
        status="error",
        failed=1,
        started_at=HOSTILE,
    )
    page = report("-o", "-").output
    read = Page(page)

    assert not {"script", "img"} & set(read.tags)
    assert read.tags.count("title") > 1
    assert all(char.isprintable() or char == "\n" for char in page)
    assert "<script>alert(1)" in read.words  # there to be read


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"done": 1}, "Finished: 1 task done."),
        ({"done": 1, "skipped": 1200}, "1,200 more had already been done"),
        ({"skipped": 3}, "nothing was left to do"),
        ({}, "there was nothing to do"),
        ({"status": "error"}, "Failed: the run ended with an error"),
        ({"status": "cancelled", "done": 2, "expected": 9}, "Cancelled with 2 of 9 tasks processed"),
        ({"status": "interrupted", "done": 2}, "Interrupted: it was stopped early, with 2 tasks processed"),
        ({"status": "running", "finished_at": None, "elapsed_s": None}, "its process ended before it did"),
        ({"status": "<odd>"}, "Its status is <odd>"),
    ],
)
def test_the_status_is_said_in_words(report, record, columns, words):
    """Whatever it is."""
    record([], **columns)

    assert words in Page(report("-o", "-").output).words


def test_a_run_going_on_is_reported_as_it_stands(report, tmp_path, db):
    """From outside, while its process lives."""
    seen = {}

    def look(number, ctx):
        if number == 2:
            ctx.progress(1, 2)
            seen["page"] = subprocess.run(
                [sys.executable, "-m", "pipeloom", "report", "--db", str(db), "-o", "-"],
                capture_output=True,
                text=True,
                timeout=50,
                check=True,
            ).stdout

    pipeloom.map(look, [1, 2, 3], db=db, name="look", workers=1, progress=False)
    words = Page(seen["page"]).words

    assert "In progress: 1 of 3 tasks processed so far." in words
    assert "So far" in words


def test_an_older_file_is_read_as_it_is(report, record, db):
    """Schema 1 has no column for how a run was started; reading does not bring the file up to date."""
    some(record)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("ALTER TABLE pipeloom_runs DROP COLUMN command")
        conn.execute("ALTER TABLE pipeloom_runs DROP COLUMN shard")
        conn.execute("ALTER TABLE pipeloom_logs DROP COLUMN error")
        conn.execute("UPDATE pipeloom_meta SET value = 1 WHERE key = 'schema_version'")
        conn.commit()
    outcome = report("-o", "-")

    assert outcome.exit_code == 0
    assert "2 of 5 tasks failed" in outcome.output
    assert "Command" not in outcome.output
    with History(db) as history:
        assert history.latest_run().command is None


# --- what is refused, in one sentence ---


def sentence(outcome):
    """Return what was said of a refusal: exit code 2, one sentence, no page."""
    assert outcome.exit_code == 2, outcome.output
    assert "Traceback" not in outcome.output
    assert "<html" not in outcome.output
    said = outcome.output.strip().splitlines()
    assert len(said) == 1 or said[0].startswith("Usage:")
    return said[-1]


def test_no_run_and_no_such_run(report, record, db):
    """And what there is instead."""
    assert CliRunner().invoke(cli, ["init-db", "--db", str(db)]).exit_code == 0
    assert "no runs yet, so there is nothing to report on" in sentence(report())
    record([])
    for number in (2, 0, 1 << 70):
        assert "the latest is 1" in sentence(report("--run", number))


def test_a_missing_file_and_one_without_a_ledger(typed, tmp_path):
    """Exit code 3, and nothing is made."""
    with closing(sqlite3.connect(tmp_path / "mine.db")) as conn:
        conn.execute("CREATE TABLE mine (x)")
    for name, word in (("missing.db", "no such file"), ("mine.db", "no pipeloom ledger")):
        code, out, err = typed("report", "--db", name)
        assert (code, out) == (3, "")
        assert word in err
        assert len(err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.db"]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", "-cancel"])
def test_the_database_is_never_overwritten(report, record, db, suffix):
    """Nor what belongs to it, whether it is there or not; nor by another name."""
    some(record)
    content = db.read_bytes()
    names = [f"{db.name}{suffix}", f"./x/../{db.name}{suffix}", f"link{suffix}"]
    os.symlink(f"{db}{suffix}", db.with_name(f"link{suffix}"))
    db.with_name("x").mkdir()
    if not suffix:
        os.link(db, db.with_name("hard"))
        names.append("hard")
    for name in names:
        assert "is the database or one of its files" in sentence(report("-o", name)), name
    assert db.read_bytes() == content
    assert db.with_name(f"{db.name}{suffix}").exists() == (not suffix)


def test_only_a_page_is_replaced(report, record, tmp_path):
    """Also by the default name; a page is, and so is an empty file; a link stays one."""
    some(record)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "out-run-1.html").write_text("mine too")
    assert "exists and is not an HTML page" in sentence(report("-o", "notes.txt"))
    assert "exists and is not an HTML page" in sentence(report())
    assert (tmp_path / "notes.txt").read_text() == "mine"

    (tmp_path / "page.html").write_text("\n<!doctype HTML><p>before")
    (tmp_path / "empty.html").touch()
    (tmp_path / "link.html").symlink_to("page.html")
    for name in ("page.html", "empty.html", "link.html"):
        assert report("-o", name).exit_code == 0
        assert "2 of 5 tasks failed" in (tmp_path / name).read_text()
    assert (tmp_path / "link.html").is_symlink()


def test_places_that_cannot_be(report, record, tmp_path):
    """A directory, one in none, and a device, which takes it."""
    some(record)
    (tmp_path / "sub").mkdir()
    assert "is a directory" in sentence(report("-o", "sub"))
    assert "does not exist" in sentence(report("-o", "nowhere/x.html"))
    assert "drop -o" in sentence(report("--json", "-o", "x.json"))
    assert report("-o", os.devnull).exit_code == 0
    assert not os.path.isfile(os.devnull)


@pytest.mark.outputs
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_is_an_error(typed, record, db):
    """Exit code 3, one sentence."""
    some(record)
    code, out, err = typed("report", "--db", db, "-o", "/dev/full")

    assert (code, out) == (3, "")
    assert "cannot be written (No space left on device)" in err
    assert len(err.splitlines()) == 1
