"""Values, statements and handlers that do harm: only their own task fails. (P6, P16)"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from faults.tools import DONE, FAILED, HOSTILE, mistaken, product
from faults.verdict import VERDICT, UnsoundError


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    """The database of a run in which every second task does harm; name → (status, message, error)."""
    from faults.tools import children

    db = tmp_path_factory.mktemp("poison") / "out.db"
    with children() as start:
        code, out, err = start(product("poison", program=HOSTILE, db=db)).wait()
    assert code == FAILED, out + err
    return db


def tasks(db):
    """Return key → (status, message)."""
    with closing(sqlite3.connect(db)) as conn:
        return {
            key: (status, message or "")
            for key, status, message in conn.execute(
                "SELECT key, status, message FROM task_runs "
                "WHERE pipeline_id = (SELECT id FROM pipeloom_pipelines WHERE name = 'poison')"
            )
        }


def test_only_the_culprits_fail(poisoned):
    """Each of them, and none of the tasks beside them; a culprit's rows are gone, its neighbours' are there."""
    found = tasks(poisoned)
    culprits = {key for key in found if not key.startswith("well, after ")}
    assert len(culprits) * 2 == len(found) > 60
    assert {key for key, (status, _) in found.items() if status != "done"} == culprits
    assert {status for status, _ in found.values()} == {"done", "error"}
    with closing(sqlite3.connect(poisoned)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = conn.execute("SELECT task, COUNT(*) FROM items GROUP BY task").fetchall()
        assert rows == [(number, 1) for number in range(1, len(found), 2)]
        assert conn.execute("SELECT n FROM once").fetchall() == [(1,)]
        names = {name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"mine", "a", "sqlite_x", ""}.isdisjoint(names)


@pytest.mark.parametrize("value", ["large int", "small int", "surrogate", "object", "set", "complex", "function"])
def test_what_cannot_be_stored_is_named(poisoned, value):
    """By table, column and type."""
    status, message = tasks(poisoned)[f"value: {value}"]
    kind = {"large int": "int", "small int": "int", "surrogate": "surrogate", "object": "Opaque"}.get(value, value)
    assert status == "error"
    assert "items" in message
    assert "text" in message
    assert kind.removeprefix("function") in message


def test_a_run_with_a_culprit_is_not_done(poisoned):
    """Exit code 1 (the fixture looked), and the run's own row says so."""
    with closing(sqlite3.connect(poisoned)) as conn:
        status, done, failed = conn.execute(
            "SELECT status, done, failed FROM pipeloom_runs ORDER BY id DESC LIMIT 1"
        ).fetchone()
    assert (status, done, failed) == ("error", len(tasks(poisoned)) // 2, len(tasks(poisoned)) // 2)


def test_handlers_may_not_touch_the_transaction(start, tmp_path):
    """COMMIT, and ``with conn:``, are denied to them, what they wrote is undone; the tasks beside them stand."""
    db = tmp_path / "out.db"
    code, out, err = start(product("handlers", program=HOSTILE, db=db)).wait()
    assert code == FAILED, out + err
    with closing(sqlite3.connect(db)) as conn:
        statuses = dict(conn.execute("SELECT key, status FROM task_runs"))
        rows = conn.execute("SELECT task, i FROM items ORDER BY task, i").fetchall()
    assert {key for key, status in statuses.items() if status == "done"} == set(range(0, 30, 3))
    assert rows == [(task, i) for task in range(0, 30, 3) for i in (0, 1)]


def test_the_verdict_catches_half_a_task(start, tmp_path):
    """It is not blind: rows without a mark, a mark without rows, rows twice."""
    db = tmp_path / "out.db"
    for harm in (
        "DELETE FROM task_runs WHERE key = 2",
        "DELETE FROM items WHERE task = 2 AND i = 0",
        "INSERT INTO items SELECT * FROM items WHERE task = 2",
    ):
        db.unlink(missing_ok=True)
        assert start(mistaken("correct", db=db, count=4)).wait()[0] == DONE
        VERDICT.at_rest(db)
        with closing(sqlite3.connect(db)) as conn, conn:
            conn.execute(harm)
        with pytest.raises(UnsoundError):
            VERDICT.at_rest(db)


def test_values_come_back_as_they_went(start, tmp_path):
    """The correct neighbour of all that: a result is JSON."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=3)).wait()[0] == DONE
    with closing(sqlite3.connect(db)) as conn:
        results = [json.loads(result) for (result,) in conn.execute("SELECT result FROM task_runs ORDER BY key")]
    assert results == [{"task": n} for n in range(3)]
