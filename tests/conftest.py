"""What every test may use, and what every test must leave behind: nothing."""

from __future__ import annotations

import gc
import logging
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir
from leaks import Leaks
from surroundings import CACHE, clear_memory, hearing, keep_inside, measure_programs, settle

from pipeloom.db import connect, init_schema

settle()
PLACE = keep_inside()

# The same examples every time: a test that fails for one commit must not pass for the next by luck.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")
set_hypothesis_home_dir(CACHE / "hypothesis")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make ``tmp_path`` in the same place, wherever pytest is started; with xdist, its workers say where."""
    if config.option.basetemp is None:
        config.option.basetemp = PLACE / "pytest-tmp"


# Files whose tests share clusters, pools and runs: one worker of xdist has them all, or each would make its own.
TOGETHER = re.compile(r"tests/executors/test_(contract_\w+|dask|futures)\.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give out tests by the file, and some files as one."""
    from xdist.scheduler import LoadFileScheduling  # nobody else needs it

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "executors" if TOGETHER.search(file) else file

    return Scheduling(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep what failed tests have left, and nothing else, once all tests and workers are over."""
    if session.config.option.basetemp == PLACE / "pytest-tmp":
        clear_memory(PLACE, keep=exitstatus != 0)


@pytest.fixture(scope="session", autouse=True)
def no_signal_is_ignored() -> Iterator[None]:
    """Every program that a test starts hears what it is sent."""
    with hearing():
        yield


# Tests that start programs, servers, browsers or terminals, or replay faults: left out by `make check`.
SLOW = (
    "browser",
    "cli",
    "contract",
    "distribution",
    "docs",
    "doctor",
    "examples",
    "executors",
    "faults",
    "merging",
    "web",
)
SLOW_TOO = (
    "engine/test_awaited.py",
    "engine/test_found.py",
    "engine/test_handle.py",
    "engine/test_notebook.py",
    "engine/test_retry_queue.py",
    "engine/test_run.py",
    "engine/test_signals.py",
    "engine/test_time_limits.py",
    "ledger/test_own_rows.py",
    "ledger/test_tables.py",
    "ledger/test_user_table.py",
    "show/test_console.py",
    "show/test_region.py",
    "show/test_screen.py",
    "show/test_streams.py",
    "test_bench.py",
    "test_datasette.py",
    "test_docs.py",
    "test_programs.py",
    "test_setup.py",
    "writer/test_commits.py",
)


# Tests whose programs coverage measures, at a quarter of a second each. Elsewhere it would be in the way: programs
# are killed, are timed, or have their writes counted or made to fail (and coverage writes a SQLite file).
MEASURED = ("cli", "contract", "show", "web")
NOT_MEASURED = ("cli/test_outputs.py",)  # over a hundred programs, each of whose lines is run elsewhere too
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have the programs that a test starts measured, or not."""
    path = item.path.relative_to(HERE)
    measure_programs(path.parts[0] in MEASURED and path.as_posix() not in NOT_MEASURED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them slow, and put these first: a long file that begins last leaves the other workers of xdist idle."""
    for item in items:
        path = item.path.relative_to(HERE)
        if path.parts[0] in SLOW or path.as_posix() in SLOW_TOO:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what is there for good, which it would look at each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_leaks(tmp_path: Path) -> Iterator[None]:
    """Fail the test that leaves a thread, a process, a connection or a descriptor open.

    It asks for ``tmp_path`` so that this directory is removed last, after whatever other fixtures still run in it.
    """
    leaks = Leaks()
    yield
    left = leaks.found()
    assert not left, f"left behind: {'; '.join(left)}"


@pytest.fixture
def package_log() -> Iterator[logging.Logger]:
    """The package's logger; it and the root logger are given back as they were."""
    loggers = [logging.getLogger("pipeloom"), logging.getLogger()]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield loggers[0]
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        for handler in logger.handlers[:]:
            if handler not in handlers:
                logger.removeHandler(handler)
                handler.close()
        logger.setLevel(level)


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


RUN_BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def instant(at_s: float | None) -> str | None:
    """Return the instant so many seconds after a recorded run began, as the ledger writes it."""
    return None if at_s is None else (RUN_BEGAN + timedelta(seconds=at_s)).isoformat(timespec="milliseconds")


@pytest.fixture
def record(db: Path) -> Callable[..., int]:
    """Write a run and its attempts with plain SQL, as if it had taken place; returns the run's number.

    An attempt is a mapping of columns; ``start`` and ``took`` are seconds, and ``past`` says that a later try took
    its place. Other columns have defaults.
    """

    def recording(attempts: Iterable[dict[str, Any]], *, took: float = 10.0, path: Path = db, **run: Any) -> int:
        with closing(connect(path)) as conn:
            init_schema(conn, store_task_status=True)
            conn.execute("BEGIN")
            began = {"status": "done", "started_at": instant(0), "finished_at": instant(took), "elapsed_s": took}
            values = {**began, "workers": 2, "executor": "threads", **run}
            number = conn.execute(
                f"INSERT INTO pipeloom_runs ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            ).lastrowid
            assert number is not None
            for place, attempt in enumerate(attempts, 1):
                _record_attempt(conn, number, place, dict(attempt))
            conn.execute("COMMIT")
        return number

    return recording


def _record_attempt(conn: sqlite3.Connection, run_id: int, place: int, said: dict[str, Any]) -> None:
    start, took, past = said.pop("start", 0.0), said.pop("took", 1.0), said.pop("past", False)
    status = said.get("status", "done")
    ended = status not in ("running", "queued") and start is not None and took is not None
    values = {
        "id": place,
        "name": f"task-{said.get('id', place)}",
        "status": status,
        "started_at": instant(start),
        "finished_at": instant(start + took) if ended else None,
        "elapsed_s": took if ended else None,
        "worker": "thread-1",
        "run_id": run_id,
        "attempt": 1,
        **said,
    }
    if past:
        values["task_id"] = values.pop("id")
    table = "pipeloom_attempts" if past else "task_runs"
    conn.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
    )
