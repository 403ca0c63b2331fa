"""``pipeloom runs``."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pipeloom

from .commands import AT, document


def test_runs_tells_how_each_ended(ran, ask):
    """The latest first; a run whose process is gone is called what it is."""
    with closing(sqlite3.connect(ran)) as conn:
        conn.execute(f"INSERT INTO pipeloom_runs (status, started_at, pid) VALUES ('running', '{AT}', 77)")
        conn.commit()
    out = ask("runs", "--db", ran)[1]
    told = document(ask("runs", "--db", ran, "--json"))["runs"]

    assert [run["status"] for run in told] == ["interrupted", "error"]
    assert told[0]["is_unclosed"]
    assert "run 2: process 77 ended before the run did; run again to do the rest" in out
    assert "interrupted" in ask("status", "--db", ran)[1]


def test_a_run_of_a_shard_is_told_from_the_others(ask, tmp_path):
    """Wherever runs are named: merged files hold one for each shard."""
    db = tmp_path / "part.db"
    pipeloom.map(str, range(9), db=db, shard=(2, 4), progress=False)

    assert "builtins:str, shard 2/4" in ask("runs", "--db", db)[1]
    assert "run 1 of builtins:str, shard 2/4  done" in ask("status", "--db", db)[1]
    assert "<h1>builtins:str, shard 2/4</h1>" in ask("report", "--db", db, "-o", "-")[1]
    assert document(ask("runs", "--db", db, "--json"))["runs"][0]["shard"] == "2/4"
