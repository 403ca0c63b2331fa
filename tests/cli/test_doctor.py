"""``pipeloom doctor``, as typed."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from pipeloom.db.cancel import request_cancel

from .commands import typed


def test_it_prints_a_line_per_check(ran):
    """And as JSON the same; exit code 0, whatever is worth a note."""
    request_cancel(ran, 1, "drain")  # too late
    done = typed("doctor", "--db", ran)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok    integrity    all pages and indexes are intact" in done.stdout
    assert f"{ran} is healthy" in done.stdout

    found = json.loads(typed("doctor", "--db", ran, "--json").stdout)
    assert [set(finding) for finding in found] == [{"check", "verdict", "text", "advice"}] * len(found)
    assert {finding["verdict"] for finding in found} == {"ok", "note"}


def test_damage_is_exit_code_1(ran):
    """The file could be checked, and has problems."""
    with closing(sqlite3.connect(ran)) as conn:
        conn.execute("UPDATE pipeloom_runs SET done = 'many'")
        conn.commit()
    done = typed("doctor", "--db", ran)

    assert (done.returncode, done.stderr) == (1, "")
    assert f"{ran} has problems" in done.stdout


@pytest.mark.parametrize("content", [b"text" * 999, None], ids=["text", "missing"])
def test_what_cannot_be_read_is_exit_code_3(db, content):
    """And one sentence."""
    if content is not None:
        db.write_bytes(content)
    done = typed("doctor", "--db", db)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)


def test_wrong_options_are_usage(db):
    """Exit code 2."""
    assert typed("doctor", "--db", db, "--deadline", "0").returncode == 2
    assert typed("doctor", "--db", db, "--nonesuch").returncode == 2


def test_a_locked_file_is_no_damage(ran):
    """Another program may hold a rollback journal's lock for a while: a note, or one sentence with exit code 3."""
    with closing(sqlite3.connect(ran, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("CREATE TABLE u (n)")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT INTO u VALUES (1)")
        done = typed("doctor", "--db", ran)

    assert "damaged" not in done.stdout + done.stderr
    assert (done.returncode, "holds its lock" in done.stderr) == (3, True), done.stderr
