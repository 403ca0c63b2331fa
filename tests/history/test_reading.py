"""One read-only connection: every question ends, and nothing is written."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from pipeloom.errors import SchemaError, StorageError
from pipeloom.history import History

from .conftest import tasks

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"


def test_changed_says_whether_somebody_committed(written, change, opened):
    """Once for the first look, once per change."""
    written(task_runs=tasks(1))
    with opened() as history:
        assert [history.changed(), history.changed()] == [True, False]
        change("UPDATE task_runs SET name = 'other'")
        assert [history.changed(), history.changed()] == [True, False]


def test_a_view_without_end_is_given_up(db, written, change, opened):
    """One sentence, after the deadline: in a list, and already when the file is opened."""
    written(task_runs=tasks(1))
    change("DROP TABLE pipeloom_rejected", f"CREATE VIEW pipeloom_rejected AS {ENDLESS.format('i AS id')}")
    with opened(deadline_s=0.1) as history:
        with pytest.raises(StorageError, match=r"out\.db: no answer within 100 ms"):
            history._reader.rows("SELECT COUNT(*) FROM pipeloom_rejected")
        assert history.counts() == {"done": 1}  # it is still of use
    change(
        "DROP TABLE pipeloom_meta",
        f"CREATE VIEW pipeloom_meta AS {ENDLESS.format('i AS key, i AS value')}",
    )
    with pytest.raises(StorageError, match="no answer within"):
        History(db, deadline_s=0.1)


ASK = """
import sys
from pathlib import Path
from pipeloom.history import History
with History(Path(sys.argv[1]), deadline_s=50) as history:
    print("asking", flush=True)
    history._reader.rows("SELECT COUNT(*) FROM pipeloom_rejected")
"""


def test_ctrl_c_ends_a_long_question(db, written, change):
    """SQLite swallows it while it asks whether to go on; it is not lost."""
    written()
    change("DROP TABLE pipeloom_rejected", f"CREATE VIEW pipeloom_rejected AS {ENDLESS.format('i AS id')}")
    with subprocess.Popen(
        [sys.executable, "-c", ASK, str(db)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "asking\n"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()

    assert err.rstrip().endswith("KeyboardInterrupt")


def test_text_that_is_not_utf_8_is_shown_as_its_escape(written, change, opened):
    """Rather than an error of the decoder."""
    written(task_runs=tasks(1))
    change("UPDATE task_runs SET message = CAST(x'61ff62' AS TEXT)")
    with opened() as history:
        assert history.tasks(limit=1)[0].message == "a\\xffb"


def test_a_look_never_writes(ran, opened):
    """Whatever is asked."""
    with opened() as history, pytest.raises(StorageError, match="READONLY"):
        history._reader.rows("DELETE FROM task_runs")


def test_what_is_no_ledger_is_refused(db, tmp_path):
    """No file, a directory, another program's database, a newer one: each in a sentence that names it."""
    with pytest.raises(StorageError, match="no such file"):
        History(db)
    with pytest.raises(StorageError, match="is a directory"):
        History(tmp_path)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE mine (x)")
    with pytest.raises(SchemaError, match=r"out\.db: .*no pipeloom ledger"):
        History(db)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE pipeloom_meta (mine)")
    with pytest.raises(SchemaError, match=r"out\.db: .*of another program"):
        History(db)
