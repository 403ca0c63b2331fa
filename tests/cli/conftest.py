"""Files to show, and commands to ask."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli
from pipeloom.db import connect, init_schema


def work(path: Path) -> object:
    """Fail for some paths, in two ways."""
    if path.name.startswith("n"):
        return {"n": float(path.name)}
    if path.name.startswith("m"):
        raise FileNotFoundError(f"no such file: {str(path)!r}")
    return {"file": path.name, "parts": [1, 2]}


@pytest.fixture
def ran(db, monkeypatch):
    """A file after a real run of load.py: three tasks done, three failed alike, one otherwise."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "load.py"])
    paths = [Path("in") / name for name in ("a", "b", "c", "n1", "n2", "n33", "m1")]
    pipeloom.map(work, paths, db=db, name="work", on_error="collect", progress=False, durability="off", workers=1)
    return db


@pytest.fixture
def write(db):
    """Write rows by hand into a new ledger, or one that is there."""

    def writing(table, *rows):
        with closing(connect(db)) as conn:
            init_schema(conn, store_task_status=True)
            conn.execute("BEGIN")
            for row in rows:
                conn.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
                )
            conn.execute("COMMIT")
        return db

    return writing


@pytest.fixture
def ask():
    """Call a command in this process; returns (exit code, standard output, standard error)."""

    def asking(*words):
        done = CliRunner().invoke(cli, list(map(str, words)))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    return asking
