"""What every list says of what it leaves out, on a terminal and to a program that reads it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import click
import pytest
from pseudoterminal import PseudoTerminal

from pipeloom.cli import listing
from pipeloom.cli.options import Instant
from pipeloom.history import History

from .commands import AT, document


@pytest.fixture
def many(write, db):
    """45 tasks, of which 30 have failed in one way and 5 in another; 25 runs; 25 log records."""
    write("pipeloom_pipelines", {"id": 1, "name": "p"})
    write("pipeloom_runs", *({"id": n, "status": "done", "started_at": AT} for n in range(1, 26)))
    write(
        "task_runs",
        *({"id": n, "name": f"t{n}", "status": "done", "pipeline_id": 1, "key": f"k{n}"} for n in range(1, 11)),
        *({"id": n, "name": f"t{n}", "status": "error", "pipeline_id": 1, "key": f"k{n}"} for n in range(11, 46)),
    )
    write("pipeloom_logs", *({"task_id": 1, "at": AT, "level": "INFO", "message": f"m{n}"} for n in range(25)))
    return db


LISTS = [(["tasks"], "tasks", 45), (["runs"], "runs", 25), (["logs", "1"], "logs", 25)]


@pytest.mark.parametrize(("words", "name", "number"), LISTS)
def test_json_says_how_many_there_are(many, ask, words, name, number):
    """All of them without ``-n``; with it, whether there are more."""
    everything = document(ask(*words, many, "--json"))
    some = document(ask(*words, many, "--json", "-n", 7))
    none = document(ask(*words, many, "--json", "-n", 0))

    assert (len(everything[name]), everything["total"], everything["more"]) == (number, number, False)
    assert (len(some[name]), some["total"], some["more"]) == (7, number, True)
    assert (none[name], none["total"], none["more"]) == ([], number, True)
    assert document(ask(*words, many, "--json", "-n", 100))["more"] is False


@pytest.mark.parametrize(("words", "name", "number"), LISTS)
def test_what_is_left_out_goes_to_standard_error_in_a_pipe(many, ask, words, name, number):
    """So that a program which reads the list sees only that."""
    for form in ([], ["--json"]):
        code, out, err = ask(*words, many, "-n", 7, *form)

        assert code == 0
        assert err.startswith(f"7 shown, {number - 7} more: ")
        assert "shown" not in out
    assert ask(*words, many, "-n", 100)[2] == ""


@pytest.mark.parametrize(("words", "name", "number"), LISTS)
def test_what_is_left_out_stays_on_the_screen(many, words, name, number):
    """Below the list, on the terminal."""
    with PseudoTerminal([sys.executable, "-m", "pipeloom", *words, str(many), "-n", "7"]) as terminal:
        assert terminal.finish() == 0
        assert f"7 shown, {number - 7} more: " in terminal.raw.decode()


def test_status_says_it_too(many, ask):
    """It is an overview: its tasks stay few."""
    _, out, err = ask("status", many)
    told = document(ask("status", many, "--json"))

    assert err.startswith("20 shown, 25 more: pipeloom tasks --db ")
    assert "shown" not in out
    assert (len(told["tasks"]), told["total"], told["more"]) == (20, 45, True)


def test_a_list_is_read_page_by_page(many, ask, monkeypatch):
    """In every order, each task once; between two pages the file is free."""
    monkeypatch.setattr("pipeloom.cli.tasks._PAGE", 7)
    for order in ("recent", "oldest", "slowest"):
        tasks = document(ask("tasks", many, "--json", "--order", order))["tasks"]
        assert sorted(task["id"] for task in tasks) == list(range(1, 46))

    def read(last, count):
        with closing(sqlite3.connect(many, isolation_level=None)) as conn:
            assert conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        return history.tasks(limit=count, after_id=None if last is None else last.id)

    with History(many) as history:
        assert len(list(listing.in_pages(read, None, 7))) == 45
        assert len(list(listing.in_pages(read, 10, 7))) == 10


def test_a_reader_that_leaves_ends_a_long_list(many):
    """At the next look, however many rows were still to come."""
    code = (
        "from pipeloom.cli import listing, main\n"
        "listing.in_pages = lambda read, *_: (row for _ in iter(int, 1) for row in read(None, 9))\n"
        "main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "tasks", str(many), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"{\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("text", "age"),
    [("90s", 90), ("30min", 1800), ("30 m", 1800), ("2h", 7200), ("1.5d", 129600), ("1w", 604800)],
)
def test_ages_are_points_in_time(text, age):
    """Counted back from now, in UTC as the ledger has it."""
    found = datetime.fromisoformat(Instant().convert(text, None, None))

    assert abs((datetime.now(UTC) - found) / timedelta(seconds=1) - age) < 60
    assert found.utcoffset() == timedelta(0)


def test_dates_are_local_unless_they_name_a_zone():
    """A date alone begins at midnight, a time alone is today's."""

    def at(text):
        return datetime.fromisoformat(Instant().convert(text, None, None))

    assert at("2026-01-31T14:30+01:00") == datetime(2026, 1, 31, 13, 30, tzinfo=UTC)
    assert at("2026-01-31 14:30") == datetime(2026, 1, 31, 14, 30).astimezone()
    assert at("2026-01-31") == datetime(2026, 1, 31).astimezone()
    assert at("14:30") == datetime.now().replace(hour=14, minute=30, second=0, microsecond=0).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "2 years", "25:00", "2026-02-30", "-2h", "9" * 9 + "w"])
def test_what_is_no_point_in_time_is_refused(text):
    """In one sentence, with what would be one."""
    with pytest.raises(click.BadParameter, match=r"is not a point in time: give an age \(90s"):
        Instant().convert(text, None, None)
