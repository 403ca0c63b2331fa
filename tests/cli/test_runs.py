"""``pipeloom runs``."""

from __future__ import annotations

import sqlite3
from contextlib import closing

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
    assert "run 2: process 77 ended without closing it; run again for the rest" in out
    assert "interrupted" in ask("status", "--db", ran)[1]
