"""``pipeloom metadata``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import click

from pipeloom.cli.options import db_option

_TABLES: Final = 50
_OWNER: Final = "_task_id"
_OWNED: Final = (
    "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = ? "
    "WHERE m.type = 'table' AND m.name NOT GLOB 'pipeloom_*' ORDER BY m.name LIMIT ?"
)


@click.command(name="metadata")
@db_option
def command(db: Path) -> None:
    """Print Datasette metadata for a ledger: titles, descriptions, sort orders, queries.

    Save it with `pipeloom metadata out.db > about.json`. Datasette 0.65 reads it with `datasette out.db -m
    about.json`, Datasette 1.0 with `datasette out.db -m about.json -c about.json`. Tables of yours that store the
    task of each row get a query that joins rows and tasks.
    """
    about = json.loads((files("pipeloom") / "datasette.json").read_text(encoding="utf-8"))
    for table in _owned(db):
        about["tables"][table] = {"columns": {_OWNER: "The task that wrote the row: its id in task_runs"}}
        about["queries"][f"tasks_of_{table}"] = _joined(table)
    # Datasette names a database after its file, without the suffix.
    click.echo(json.dumps({"databases": {db.stem: about}}, indent=2, ensure_ascii=True))


def _owned(db: Path) -> Iterator[str]:
    """Yield the tables that store the task of each row; none if the file is missing or unreadable."""
    import sqlite3

    from pipeloom.db import connect_readonly
    from pipeloom.errors import PipeloomError

    try:
        with closing(connect_readonly(db)) as conn:
            for (name,) in conn.execute(_OWNED, (_OWNER, _TABLES)).fetchall():
                yield str(name)
    except (PipeloomError, sqlite3.Error):
        return


def _joined(table: str) -> dict[str, Any]:
    """Return a query that joins a table's rows with their tasks, for all tasks or one."""
    from pipeloom.data.identifiers import quoted

    return {
        "title": f"{table}, with tasks",
        "description": "Rows with the tasks that wrote them, or only those of one task, by its id.",
        "hide_sql": True,
        "sql": (
            f"SELECT t.id AS task_id, t.name AS task, t.status AS task_status, r.*\nFROM {quoted(table)} r "
            f"LEFT JOIN task_runs t ON t.id = r.{_OWNER}\n"
            f"WHERE COALESCE(:task, '') = '' OR r.{_OWNER} = CAST(:task AS INTEGER)\nLIMIT 200"
        ),
    }
