"""What every test may use, and what every test must leave behind: nothing."""

from __future__ import annotations

import gc
import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

# The same examples every time: a test that fails for one commit must not pass for the next by luck.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
set_hypothesis_home_dir(Path(__file__).parent.parent / ".cache" / "hypothesis")


def _open_connections() -> list[sqlite3.Connection]:
    found = []
    for thing in gc.get_objects():
        if issubclass(type(thing), sqlite3.Connection):  # isinstance would ask a hostile object
            try:
                _ = thing.in_transaction
            except sqlite3.ProgrammingError:  # closed
                continue
            found.append(thing)
    return found


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fail the test that leaves a thread, a process or an open connection."""
    threads_before = set(threading.enumerate())
    connections_before = {id(conn) for conn in _open_connections()}
    yield
    deadline = monotonic() + 5
    while leaked := set(threading.enumerate()) - threads_before:
        for thread in leaked:
            thread.join(max(0.0, deadline - monotonic()))
        if monotonic() > deadline:
            break
    assert not leaked, f"threads left behind: {leaked}"
    assert not multiprocessing.active_children()
    left = [conn for conn in _open_connections() if id(conn) not in connections_before]
    assert not left, f"{len(left)} open connections left behind"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A database file that does not exist yet."""
    return tmp_path / "out.db"


@pytest.fixture
def read() -> Callable[..., list[tuple[Any, ...]]]:
    """Read from a database file in one go."""

    def rows(path: Path, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as conn:
            return conn.execute(sql, params).fetchall()

    return rows
