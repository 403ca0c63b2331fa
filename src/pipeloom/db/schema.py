"""The ledger's tables, and how a file gets them: numbered migrations, all in one transaction.

``task_runs`` holds the latest state, one row per task; all other names begin with ``pipeloom_``, since the file may
be the user's own. The version is kept in ``pipeloom_meta``, never in ``user_version``.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from pipeloom.data.kinds import Kinds
from pipeloom.data.text import clean, words
from pipeloom.errors import SchemaError
from pipeloom.statuses import FAILED, INTERRUPTED, NEVER_BEGAN, PROCESS_ENDED

__all__ = ["SCHEMA_VERSION", "check_schema", "init_schema", "kind_of_interrupted", "last_words", "schema_version"]

_CONTRACT_COLUMNS: Final = (
    "id",
    "name",
    "status",
    "progress",
    "message",
    "started_at",
    "finished_at",
    "result",
)

_TASK_RUNS: Final = """
CREATE TABLE task_runs (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    progress    REAL NOT NULL DEFAULT 0.0,
    message     TEXT,
    started_at  TEXT,
    finished_at TEXT,
    result      TEXT
)"""

_OUR_COLUMNS: Final = (
    "pipeline_id INTEGER",
    "key",  # untyped, so that 1 and '1' remain two keys
    "run_id INTEGER",
    "attempt INTEGER NOT NULL DEFAULT 1",
    "error TEXT",
    "worker TEXT",
    "rows_written INTEGER NOT NULL DEFAULT 0",
    "elapsed_s REAL",
)

# Indexes are partial: rows without a key are not in the first, and a finished task leaves the second.
_VERSION_1: Final = (
    "CREATE TABLE pipeloom_meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    "CREATE UNIQUE INDEX pipeloom_task_key ON task_runs (pipeline_id, key) WHERE key IS NOT NULL",
    "CREATE INDEX pipeloom_task_open ON task_runs (status) WHERE status <> 'done'",
    "CREATE TABLE pipeloom_pipelines (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE pipeloom_runs (
        id          INTEGER PRIMARY KEY,
        pipeline_id INTEGER REFERENCES pipeloom_pipelines (id),
        status      TEXT NOT NULL,           -- running, done, error, cancelled or interrupted
        started_at  TEXT NOT NULL,
        finished_at TEXT,
        elapsed_s   REAL,
        expected    INTEGER,                 -- number of inputs, when it was known beforehand
        done        INTEGER NOT NULL DEFAULT 0,
        failed      INTEGER NOT NULL DEFAULT 0,
        cancelled   INTEGER NOT NULL DEFAULT 0,
        timed_out   INTEGER NOT NULL DEFAULT 0,
        skipped     INTEGER NOT NULL DEFAULT 0,
        workers     INTEGER,
        executor    TEXT,
        host        TEXT,
        pid         INTEGER,
        versions    TEXT                     -- JSON: pipeloom, python, sqlite
    )""",
    """CREATE TABLE pipeloom_attempts (       -- past tries only; the present one is in task_runs
        task_id INTEGER NOT NULL, run_id INTEGER, attempt INTEGER NOT NULL, name TEXT, status TEXT NOT NULL,
        progress REAL, message TEXT, started_at TEXT, finished_at TEXT, result TEXT, error TEXT, worker TEXT,
        rows_written INTEGER, elapsed_s REAL
    )""",
    "CREATE INDEX pipeloom_attempts_task ON pipeloom_attempts (task_id)",
    """CREATE TABLE pipeloom_logs (
        id INTEGER PRIMARY KEY, task_id INTEGER, run_id INTEGER, attempt INTEGER, at TEXT NOT NULL,
        level TEXT NOT NULL, logger TEXT, message TEXT NOT NULL
    )""",
    "CREATE INDEX pipeloom_logs_task ON pipeloom_logs (task_id)",
    """CREATE TABLE pipeloom_state (          -- checkpoints: what a task's next attempt goes on from
        task_id INTEGER PRIMARY KEY, run_id INTEGER, attempt INTEGER, at TEXT NOT NULL, state TEXT NOT NULL
    )""",
    """CREATE TABLE pipeloom_rejected (       -- messages that could not be applied, with why
        id INTEGER PRIMARY KEY, run_id INTEGER, task_id INTEGER, at TEXT NOT NULL,
        kind TEXT NOT NULL, content TEXT NOT NULL, error TEXT NOT NULL
    )""",
    """CREATE VIEW pipeloom_failures AS
        SELECT t.id, p.name AS pipeline, t.key, t.name, t.status, t.message, t.started_at, t.finished_at,
               t.attempt, t.error, t.run_id
        FROM task_runs t LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id
        WHERE t.status <> 'done' AND t.status IN ('error', 'cancelled', 'timed_out', 'interrupted')""",
    """CREATE VIEW pipeloom_slowest AS
        SELECT t.id, p.name AS pipeline, t.key, t.name, t.status, t.elapsed_s, t.rows_written, t.started_at
        FROM task_runs t LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id
        WHERE t.elapsed_s IS NOT NULL ORDER BY t.elapsed_s DESC""",
    """CREATE VIEW pipeloom_summary AS
        SELECT p.name AS pipeline, t.status, COUNT(*) AS tasks, SUM(t.rows_written) AS rows_written,
               SUM(t.elapsed_s) AS elapsed_s, MIN(t.started_at) AS first_started,
               MAX(t.finished_at) AS last_finished
        FROM task_runs t LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id
        GROUP BY t.pipeline_id, t.status""",
    """CREATE VIEW pipeloom_history AS
        SELECT task_id, run_id, attempt, name, status, progress, message, started_at, finished_at, result, error,
               worker, rows_written, elapsed_s
        FROM pipeloom_attempts
        UNION ALL
        SELECT id, run_id, attempt, name, status, progress, message, started_at, finished_at, result, error,
               worker, rows_written, elapsed_s
        FROM task_runs""",
)


def _migrate_1(conn: sqlite3.Connection) -> None:
    existing = {row[1].lower() for row in conn.execute("PRAGMA table_info(task_runs)")}
    if not existing:
        conn.execute(_TASK_RUNS)
    for declaration in _OUR_COLUMNS:
        if declaration.split()[0] not in existing:
            conn.execute(f"ALTER TABLE task_runs ADD COLUMN {declaration}")
    for statement in _VERSION_1:
        conn.execute(statement)


def _migrate_2(conn: sqlite3.Connection) -> None:
    """Store the traceback of a log record, and how a run was started."""
    conn.execute("ALTER TABLE pipeloom_logs ADD COLUMN error TEXT")
    conn.execute("ALTER TABLE pipeloom_runs ADD COLUMN command TEXT")


def _migrate_3(conn: sqlite3.Connection) -> None:
    """Store the function that a pipeline's name refers to; all NULL for existing pipelines."""
    for column in ("is_given INTEGER", "function TEXT", "place TEXT", "beside TEXT", "code TEXT", "captured TEXT"):
        conn.execute(f"ALTER TABLE pipeloom_pipelines ADD COLUMN {column}")


def _migrate_4(conn: sqlite3.Connection) -> None:
    """Store what a key is a digest of, so that results can be matched to their inputs."""
    if "input" not in {row[1].lower() for row in conn.execute("PRAGMA table_info(task_runs)")}:
        conn.execute("ALTER TABLE task_runs ADD COLUMN input TEXT")


def _migrate_5(conn: sqlite3.Connection) -> None:
    """Store the shard of the inputs that a run processed, such as ``3/16``; NULL for all of them."""
    conn.execute("ALTER TABLE pipeloom_runs ADD COLUMN shard TEXT")


def _migrate_6(conn: sqlite3.Connection) -> None:
    """Store the version of a done input, which tables store their task, and the inputs that tasks added."""
    if "version" not in {row[1].lower() for row in conn.execute("PRAGMA table_info(task_runs)")}:
        conn.execute("ALTER TABLE task_runs ADD COLUMN version")  # untyped: 1 and '1' are two
    conn.execute("ALTER TABLE pipeloom_runs ADD COLUMN own_rows TEXT")  # JSON: true, or a list of tables
    conn.execute(
        """CREATE TABLE pipeloom_found (      -- inputs found on the way, in the order in which they are run
            id INTEGER PRIMARY KEY, task_id INTEGER NOT NULL UNIQUE, found_by INTEGER, item TEXT NOT NULL
        )"""
    )


_FAILED: Final = f"status IN {FAILED}"
_KIND_COLUMNS: Final = ("exception", "place", "message_template", "kind")
_VERSION_7: Final = (
    # The kinds of a file, or of one run in it, are counted and dated from the index alone.
    "DROP INDEX IF EXISTS pipeloom_task_kind",
    f"CREATE INDEX pipeloom_task_kind ON task_runs (status, kind, run_id, finished_at) WHERE {_FAILED}",
    "DROP VIEW IF EXISTS pipeloom_failures",
    """CREATE VIEW pipeloom_failures AS
        SELECT t.id, p.name AS pipeline, t.key, t.name, t.status, t.exception, t.message, t.place, t.started_at,
               t.finished_at, t.attempt, t.error, t.run_id, t.kind, t.message_template
        FROM task_runs t LEFT JOIN pipeloom_pipelines p ON p.id = t.pipeline_id
        WHERE t.status <> 'done' AND t.status IN ('error', 'cancelled', 'timed_out', 'interrupted')""",
    "DROP VIEW IF EXISTS pipeloom_kinds",
    f"""CREATE VIEW pipeloom_kinds AS
        SELECT k.kind, k.tasks, k.status, t.exception, t.message_template, t.place, k.example, k.last,
               k.first_at, k.last_at
        FROM (SELECT kind, status, COUNT(*) AS tasks, MIN(id) AS example, MAX(id) AS last,
                     MIN(finished_at) AS first_at, MAX(finished_at) AS last_at
              FROM task_runs WHERE {_FAILED} GROUP BY status, kind) k
        JOIN task_runs t ON t.id = k.example ORDER BY k.tasks DESC""",
    "DROP VIEW IF EXISTS pipeloom_history",
    """CREATE VIEW pipeloom_history AS
        SELECT task_id, run_id, attempt, name, status, progress, message, started_at, finished_at, result, error,
               worker, rows_written, elapsed_s, exception, place, message_template, kind
        FROM pipeloom_attempts
        UNION ALL
        SELECT id, run_id, attempt, name, status, progress, message, started_at, finished_at, result, error,
               worker, rows_written, elapsed_s, exception, place, message_template, kind
        FROM task_runs""",
)


def _migrate_7(conn: sqlite3.Connection) -> None:
    """Store the kind of each failure, and determine it for existing ones."""
    kinds = Kinds()
    for table in ("task_runs", "pipeloom_attempts"):
        existing = {row[1].lower() for row in conn.execute(f"PRAGMA table_info({table})")}
        for column in _KIND_COLUMNS:
            if column not in existing:
                conn.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")
        _tell_kinds(conn, table, kinds)
    for statement in _VERSION_7:
        conn.execute(statement)


def _tell_kinds(conn: sqlite3.Connection, table: str, kinds: Kinds) -> None:
    """Set the kind of all failures of a table, page by page: a cursor must not see what it writes.

    Values in the user's own columns of these names are kept.
    """
    last = -(1 << 63)
    while True:
        page = conn.execute(
            f"SELECT rowid, status, message, error FROM {table} WHERE status <> 'done' AND {_FAILED} "
            "AND rowid > ? ORDER BY rowid LIMIT 1000",
            (last,),
        ).fetchall()
        if not page:
            return
        last = page[-1][0]
        found = [(kinds.of(words(status), said, error), number) for number, status, said, error in page]
        conn.executemany(
            f"UPDATE {table} SET {', '.join(f'{name} = COALESCE({name}, ?)' for name in _KIND_COLUMNS)} "
            "WHERE rowid = ?",
            [(kind.exception, kind.place, kind.message, kind.id, number) for kind, number in found],
        )


_MIGRATIONS: Final = (_migrate_1, _migrate_2, _migrate_3, _migrate_4, _migrate_5, _migrate_6, _migrate_7)
SCHEMA_VERSION: Final = len(_MIGRATIONS)


def schema_version(conn: sqlite3.Connection) -> int:
    """Return the file's schema version; 0 if it has no ledger. Any connection, in its own thread.

    Raises:
        SchemaError: ``pipeloom_meta`` belongs to another program.
    """
    known = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'pipeloom_meta'").fetchone()
    if known is None:
        return 0
    try:
        row = conn.execute("SELECT value FROM pipeloom_meta WHERE key = 'schema_version'").fetchone()
        return int(row[0])
    except (sqlite3.OperationalError, TypeError, ValueError) as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) != sqlite3.SQLITE_ERROR:
            raise  # locked, or stopped: that says nothing about the table
        raise _refusal(
            conn,
            "this database has a pipeloom_meta of another program: use another file; this one was left as it is",
        ) from None


def check_schema(conn: sqlite3.Connection) -> int:
    """Refuse a file that cannot hold our ledger, without changing a byte; only reads.

    Args:
        conn: A connection to the file.

    Returns:
        Its schema version; 0 if it has no ledger yet.

    Raises:
        SchemaError: ``task_runs`` belongs to another program, or the schema is newer.
    """
    version = schema_version(conn)
    if version > SCHEMA_VERSION:
        raise _refusal(
            conn,
            f"this file was written by a newer pipeloom (schema {version}, this version knows {SCHEMA_VERSION}): "
            "upgrade pipeloom, or use another file; this one was left as it is",
        )
    if version == 0:
        _check_adoptable(conn)
    return version


def init_schema(conn: sqlite3.Connection, *, store_task_status: bool) -> None:
    """Bring the ledger's tables to this version; does nothing if ``store_task_status`` is false.

    Runs in the connection's thread and blocks on the disk. An existing ``task_runs`` with the eight columns of the
    contract is adopted by adding ours.

    Args:
        conn: A connection to the file, outside a transaction.
        store_task_status: Whether there is a ledger at all.

    Raises:
        SchemaError: ``task_runs`` belongs to another program, or the schema is newer; the file is left as it was.
    """
    if not store_task_status:
        return
    if conn.in_transaction:
        conn.commit()
    if check_schema(conn) == SCHEMA_VERSION:
        return
    conn.execute("BEGIN IMMEDIATE")
    try:
        for migrate in _MIGRATIONS[check_schema(conn) :]:  # again, as another connection may have been faster
            migrate(conn)
        conn.execute("INSERT OR REPLACE INTO pipeloom_meta VALUES ('schema_version', ?)", (SCHEMA_VERSION,))
    except BaseException:
        conn.rollback()
        raise
    conn.execute("COMMIT")


def _refusal(conn: sqlite3.Connection, why: str) -> SchemaError:
    path = conn.execute("PRAGMA database_list").fetchone()[2]  # empty in memory
    return SchemaError(f"{clean(path)}: {why}" if path else why, path=path or None)


def _check_adoptable(conn: sqlite3.Connection) -> None:
    taken = conn.execute(
        "SELECT type, name FROM sqlite_master WHERE name LIKE 'pipeloom!_%' ESCAPE '!' "
        "OR (lower(name) = 'task_runs' AND type <> 'table') ORDER BY name"
    ).fetchone()
    if taken is not None:
        raise _refusal(
            conn,
            f"this database has a {taken[0]} of its own named {clean(taken[1])}, which pipeloom needs: use another "
            "file; this one was left as it is",
        )
    if problem := _misfit(conn):
        raise _refusal(
            conn,
            f"this database has a task_runs table of another program (it {problem}): use another file; "
            "this one was left as it is",
        )


def _misfit(conn: sqlite3.Connection) -> str | None:
    """Return why an existing ``task_runs`` cannot be adopted; ``None`` if it can, or if there is none."""
    columns = {row[1].lower(): row for row in conn.execute("PRAGMA table_info(task_runs)")}
    if not columns:
        return None
    for name in _CONTRACT_COLUMNS:
        if name not in columns:
            return f"lacks the column {name}"
    keys = [name for name, row in columns.items() if row[5]]
    if keys != ["id"] or columns["id"][2].upper() != "INTEGER":
        return "has no id INTEGER PRIMARY KEY"
    ours = {*_CONTRACT_COLUMNS, *(declaration.split()[0] for declaration in _OUR_COLUMNS)}
    for name, (_, _, _, not_null, default, _) in columns.items():
        if name not in ours and not_null and default is None:
            return f"needs a value for the column {clean(name)}"
    return None


def kind_of_interrupted(said: str, status: str = "status", started_at: str = "started_at") -> str:
    """Return SQL that sets the kind of a task whose process ended; see :func:`last_words`."""
    kinds = Kinds()
    never, ended = kinds.of(INTERRUPTED, NEVER_BEGAN, None), kinds.of(INTERRUPTED, PROCESS_ENDED, None)
    has_not_begun = _has_not_begun(said, status, started_at)
    return (
        f"message_template = CASE WHEN {has_not_begun} THEN '{never.message}' ELSE '{ended.message}' END, "
        f"kind = CASE WHEN {has_not_begun} THEN '{never.id}' ELSE '{ended.id}' END"
    )


def _has_not_begun(said: str, status: str, started_at: str) -> str:
    return f"{status} = 'queued' AND {started_at} IS NULL AND {said} IS NULL"


def last_words(said: str, status: str = "status", started_at: str = "started_at") -> str:
    """Return SQL for the message of a task whose process ended.

    Args:
        said: The expression for its last message, which is not a reason; NULL for a queued task.
        status: The expression for its status.
        started_at: The expression for its start.
    """
    return (
        f"CASE WHEN {_has_not_begun(said, status, started_at)} THEN '{NEVER_BEGAN}' "
        f"ELSE '{PROCESS_ENDED}' || COALESCE('; it said last: ' || NULLIF({said}, ''), '') END"
    )
