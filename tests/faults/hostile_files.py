"""Small files that would cost a reader its memory or its time: each is made from a sound ledger of three tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

__all__ = ["HOSTILE_FILES", "make_hostile"]

_NUMBERS: Final = ("id", "pipeline_id", "run_id", "attempt", "rows_written", "elapsed_s", "progress")
_MANY: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) "


def make_hostile(db: Path, kind: str) -> None:
    """Make a sound ledger hostile.

    Args:
        db: The ledger.
        kind: One of :data:`HOSTILE_FILES`.
    """
    with closing(sqlite3.connect(db)) as conn:
        HOSTILE_FILES[kind](conn)
        conn.commit()
        conn.execute("VACUUM")


def _views(conn: sqlite3.Connection, values: str, table: str = "task_runs", rows: str = "4") -> None:
    """Put a view in the place of a table: ``values`` is the expression of each text, ``x`` is the row."""
    names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
    for (view,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        conn.execute(f"DROP VIEW {view}")
    conn.execute(f"DROP TABLE {table}")
    known = {"id": "x", "status": "'error'", "task_id": "2", **dict.fromkeys(_NUMBERS[1:], "1")}
    columns = ", ".join(f"{known.get(name, values)} AS {name}" for name in names)
    conn.execute(
        f"CREATE VIEW {table} AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {rows}) "
        f"SELECT {columns} FROM n"
    )


def _functions(conn: sqlite3.Connection) -> None:
    _views(conn, "hex(zeroblob(20000000 + x))")


def _doubling(conn: sqlite3.Connection) -> None:
    """Huge values without a function."""
    doubled = "(WITH RECURSIVE d(s) AS (SELECT 'xxxx' UNION ALL SELECT s || s FROM d LIMIT 26) SELECT s FROM d)"
    _views(conn, doubled)


def _just_below(conn: sqlite3.Connection) -> None:
    """Values that are just not too long, many of them."""
    doubled = (
        "(SELECT s FROM (WITH RECURSIVE d(s, k) AS (SELECT 'xxxx', 1 UNION ALL SELECT s || s, k + 1 FROM d "
        "WHERE k < 21) SELECT s, k FROM d) WHERE k = 21)"
    )
    _views(conn, doubled, rows="1000")


def _many_rows(conn: sqlite3.Connection) -> None:
    _views(conn, "'some text'", rows="100000000")


def _many_runs(conn: sqlite3.Connection) -> None:
    _views(conn, "'some text'", "pipeloom_runs", rows="100000000")


def _many_statuses(conn: sqlite3.Connection) -> None:
    conn.execute(_MANY.format(50_000) + "INSERT INTO task_runs (name, status) SELECT 'n', 'status ' || i FROM n")


def _generated(conn: sqlite3.Connection) -> None:
    for (view,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall():
        conn.execute(f"DROP VIEW {view}")
    conn.execute("ALTER TABLE task_runs DROP COLUMN worker")
    conn.execute("ALTER TABLE task_runs ADD COLUMN worker TEXT AS (hex(zeroblob(200000000)))")


def _set(conn: sqlite3.Connection, columns: Iterable[str], value: object) -> None:
    conn.execute(
        f"UPDATE task_runs SET status = 'error', {', '.join(f'{name} = ?1' for name in columns)}", (value,)
    )


def _long_texts(conn: sqlite3.Connection) -> None:
    """In all texts of a task, of a megabyte in one word: what is quadratic is not done in time."""
    conn.execute("DROP INDEX pipeloom_task_key")
    _set(
        conn, ("name", "key", "message", "error", "result", "worker", "started_at", "finished_at"), "x" * 1_000_000
    )
    conn.execute("UPDATE pipeloom_pipelines SET name = ?", ("p" * 1_000_000,))
    conn.execute(
        "INSERT INTO pipeloom_logs (task_id, at, level, logger, message, error) VALUES (2, ?1, ?1, ?1, ?1, ?1)",
        ("x" * 1_000_000,),
    )


def _many_lines(conn: sqlite3.Connection) -> None:
    _set(conn, ("name", "message", "error", "result"), "\n" * 3_000_000)


def _deep_json(conn: sqlite3.Connection) -> None:
    """Results that grow when they are laid out, and versions that are too deep to be read."""
    _set(conn, ("result",), "[" * 900 + ",".join("1" * 400_000) + "]" * 900)
    conn.execute("UPDATE pipeloom_runs SET versions = ?", ("[" * 1_000_000,))


def _numbers(conn: sqlite3.Connection) -> None:
    _set(conn, ("result",), "9" * 1_000_000)
    conn.execute(
        "UPDATE pipeloom_runs SET versions = ?, done = 9223372036854775807, elapsed_s = 9e999", ("9" * 5000,)
    )


def _no_text(conn: sqlite3.Connection) -> None:
    """Bytes that are no UTF-8 where text is expected, as text and as a blob."""
    conn.execute(
        "UPDATE task_runs SET name = CAST(x'ff00fe' AS TEXT), message = x'80ff', error = x'c3', status = 'error'"
    )
    conn.execute("UPDATE pipeloom_runs SET host = CAST(x'ff' AS TEXT), started_at = x'00', versions = x'ff'")


HOSTILE_FILES: Final[dict[str, Callable[[sqlite3.Connection], None]]] = {
    "a view with huge values": _functions,
    "a view with huge values without functions": _doubling,
    "a view with many large values": _just_below,
    "a view with many rows": _many_rows,
    "a view with many runs": _many_runs,
    "many statuses": _many_statuses,
    "a generated column": _generated,
    "long texts": _long_texts,
    "many lines": _many_lines,
    "deep JSON": _deep_json,
    "huge numbers": _numbers,
    "no text": _no_text,
}
