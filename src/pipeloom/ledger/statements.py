"""The ledger's SQL statements on tasks: multi-row, in fixed sizes, padded with rows that are ignored.

SQLite releases the interpreter lock around every step, and a thread that computes may then hold it for 5 ms. So a
batch uses few, large statements, in three sizes, so that the statement cache always has them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

__all__ = [
    "ARCHIVE",
    "FINISH",
    "FINISH_WIDTH",
    "FORGET_STATES",
    "FORGET_TRY",
    "FOUND",
    "FOUND_WIDTH",
    "KEEP_TRY",
    "KEYED",
    "LOG",
    "LOG_WIDTH",
    "LOOK_UP",
    "LOOK_UP_FOUND",
    "NEW",
    "NEW_WIDTH",
    "PROGRESS",
    "PUT",
    "PUT_QUEUED",
    "PUT_STATE",
    "QUEUED_WIDTH",
    "WIDTH",
    "WITH_STATE",
    "new_row",
    "padded",
]

SIZES: Final = (8, 64, 512)
_COLUMNS: Final = (
    "id, name, status, progress, message, started_at, finished_at, result, "
    "pipeline_id, key, run_id, attempt, error, worker, rows_written, elapsed_s, input, "
    "exception, place, message_template, kind"
)
WIDTH: Final = _COLUMNS.count(",") + 1
_PAST: Final = (
    "run_id, attempt, name, status, progress, message, started_at, finished_at, result, error, worker, "
    "rows_written, elapsed_s, exception, place, message_template, kind"
)
_NEW_COLUMNS: Final = (
    "id, name, message, started_at, finished_at, result, key, worker, rows_written, elapsed_s, input"
)
NEW_WIDTH: Final = _NEW_COLUMNS.count(",") + 1
new_row = operator.attrgetter(*_NEW_COLUMNS.replace("id", "task_id", 1).split(", "))
_FINISH_COLUMNS: Final = "id, name, status, progress, finished_at, result, message, run_id, message_template, kind"
FINISH_WIDTH: Final = _FINISH_COLUMNS.count(",") + 1
_LOG_COLUMNS: Final = "at, task_id, run_id, attempt, level, logger, message, error"
LOG_WIDTH: Final = _LOG_COLUMNS.count(",") + 1
_QUEUED_COLUMNS: Final = "id, key, name, input"
QUEUED_WIDTH: Final = _QUEUED_COLUMNS.count(",") + 1
FOUND_WIDTH: Final = 3


def _values(width: int, count: int) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return ", ".join([row] * count)


def _put_sql(count: int) -> str:
    """Insert whole rows, or replace all columns of rows that exist."""
    updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
    return (
        f"INSERT INTO task_runs ({_COLUMNS}) SELECT * FROM (VALUES {_values(WIDTH, count)}) "
        f"WHERE column1 IS NOT NULL ON CONFLICT (id) DO UPDATE SET {updates}"
    )


def _new_sql(count: int) -> str:
    """Insert done tasks whose rows cannot exist yet; values that all share come once, before the rows."""
    columns = ", ".join(f"column{place}" for place in range(1, NEW_WIDTH + 1))
    return (
        f"INSERT INTO task_runs (status, progress, attempt, pipeline_id, run_id, {_NEW_COLUMNS}) "
        f"SELECT 'done', 1.0, 1, ?, ?, {columns} FROM (VALUES {_values(NEW_WIDTH, count)}) "
        "WHERE column1 IS NOT NULL"
    )


def _progress_sql(count: int) -> str:
    return (
        f"WITH news (id, progress, message) AS (VALUES {_values(3, count)}) "
        "UPDATE task_runs SET progress = news.progress, message = news.message FROM news "
        "WHERE task_runs.id = news.id AND status = 'running' AND pipeline_id IS NULL"
    )


def _finish_sql(count: int) -> str:
    """Finish tasks whose start came in an earlier batch, or never came; the first finish of a task wins."""
    return (
        f"INSERT INTO task_runs ({_FINISH_COLUMNS}) "
        f"SELECT * FROM (VALUES {_values(FINISH_WIDTH, count)}) WHERE column1 IS NOT NULL "
        "ON CONFLICT (id) DO UPDATE SET status = excluded.status, finished_at = excluded.finished_at, "
        "result = excluded.result, message = excluded.message, "
        "message_template = excluded.message_template, kind = excluded.kind, "
        "progress = CASE excluded.status WHEN 'done' THEN 1.0 ELSE progress END "
        "WHERE task_runs.status IN ('queued', 'running')"
    )


def _archive_sql(count: int) -> str:
    """Archive attempts; a task that has not begun has none."""
    return (
        f"INSERT INTO pipeloom_attempts (task_id, {_PAST}) SELECT id, {_PAST} FROM task_runs "
        "WHERE status <> 'queued' AND NOT (status = 'interrupted' AND started_at IS NULL) "
        f"AND id IN ({', '.join('?' * count)})"
    )


def _keyed_sql(count: int) -> str:
    return f"SELECT id FROM task_runs WHERE pipeline_id IS NOT NULL AND id IN ({', '.join('?' * count)})"


def _look_up_sql(count: int) -> str:
    """Find a pipeline's tasks by their keys."""
    return (
        "SELECT key, id, status, run_id, NULL FROM task_runs "
        f"WHERE pipeline_id = ? AND key IN ({', '.join('?' * count)})"
    )


def _look_up_found_sql(count: int) -> str:
    """Find a pipeline's tasks by their keys, each with its place in the queue of found inputs."""
    return (
        "SELECT t.key, t.id, t.status, t.run_id, f.id "
        "FROM task_runs t LEFT JOIN pipeloom_found f ON f.task_id = t.id "
        f"WHERE t.pipeline_id = ? AND t.key IN ({', '.join('?' * count)})"
    )


def _put_queued_sql(count: int) -> str:
    """Insert tasks that have not begun and cannot have a row yet."""
    return (
        f"INSERT INTO task_runs (status, pipeline_id, run_id, {_QUEUED_COLUMNS}) SELECT 'queued', ?, ?, * "
        f"FROM (VALUES {_values(QUEUED_WIDTH, count)}) WHERE column1 IS NOT NULL"
    )


def _found_sql(count: int) -> str:
    """Queue inputs; one that an earlier run had queued moves to the end."""
    return (
        "INSERT OR REPLACE INTO pipeloom_found (task_id, found_by, item) SELECT * "
        f"FROM (VALUES {_values(FOUND_WIDTH, count)}) WHERE column1 IS NOT NULL"
    )


def _forget_states_sql(count: int) -> str:
    return f"DELETE FROM pipeloom_state WHERE task_id IN ({', '.join('?' * count)})"


def _with_state_sql(count: int) -> str:
    return f"SELECT task_id FROM pipeloom_state WHERE task_id IN ({', '.join('?' * count)})"


def _log_sql(count: int) -> str:
    return (
        f"INSERT INTO pipeloom_logs ({_LOG_COLUMNS}) SELECT * FROM (VALUES {_values(LOG_WIDTH, count)}) "
        "WHERE column1 IS NOT NULL"
    )


(
    PUT,
    NEW,
    PROGRESS,
    FINISH,
    ARCHIVE,
    KEYED,
    LOOK_UP,
    LOOK_UP_FOUND,
    PUT_QUEUED,
    FOUND,
    FORGET_STATES,
    WITH_STATE,
    LOG,
) = (
    {size: build(size) for size in SIZES}
    for build in (
        _put_sql,
        _new_sql,
        _progress_sql,
        _finish_sql,
        _archive_sql,
        _keyed_sql,
        _look_up_sql,
        _look_up_found_sql,
        _put_queued_sql,
        _found_sql,
        _forget_states_sql,
        _with_state_sql,
        _log_sql,
    )
)
KEEP_TRY: Final = (
    f"INSERT INTO pipeloom_attempts (task_id, {_PAST}) VALUES ({', '.join('?' * (2 + _PAST.count(',')))})"
)
FORGET_TRY: Final = "DELETE FROM pipeloom_attempts WHERE task_id = ? AND run_id IS ? AND attempt = ?"
PUT_STATE: Final = (
    "INSERT INTO pipeloom_state (task_id, run_id, attempt, at, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT (task_id) "
    "DO UPDATE SET run_id = excluded.run_id, attempt = excluded.attempt, at = excluded.at, state = excluded.state"
)


def padded(rows: Sequence[Sequence[object]], width: int) -> Iterable[tuple[int, list[object]]]:
    """Split n rows into statements of fixed sizes, padded with NULLs; yields (size, flat parameters)."""
    largest = SIZES[-1]
    for begin in range(0, len(rows), largest):
        part = rows[begin : begin + largest]
        size = next(size for size in SIZES if size >= len(part))
        flat = list(chain.from_iterable(part))
        flat.extend([None] * ((size - len(part)) * width))
        yield size, flat
