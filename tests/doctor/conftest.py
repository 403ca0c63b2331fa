"""Files to examine, and what was found."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from pipeloom import map as pipeloom_map
from pipeloom.doctor import examine


def fill(db, tasks=50, **options):
    """Run: each task writes two rows."""

    def write_two(number, ctx):
        ctx.write("t", [{"n": number, "text": "x" * 100}, {"n": -number, "text": "y" * 100}])

    return pipeloom_map(write_two, range(tasks), name="two", db=db, progress=False, **options)


def alter(db, *statements):
    """Let another program write."""
    with closing(sqlite3.connect(db)) as conn:
        for sql in statements:
            conn.execute(sql)
        conn.commit()


def by_check(found):
    """Return check → finding."""
    return {finding.check: finding for finding in found}


def remarkable(db, **options):
    """Return check → verdict of what is not ok; SQLite's version is this machine's affair."""
    return {f.check: f.verdict for f in examine(db, **options) if f.verdict != "ok" and f.check != "SQLite"}
