"""``pipeloom init-db``."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from pipeloom.cli.options import db_option, say, traceback_option


@click.command(name="init-db")
@db_option
@traceback_option
def command(db: Path) -> None:
    """Create a database with an empty ledger. An existing database keeps its tables and rows."""
    from pipeloom.data.text import clean
    from pipeloom.db import SCHEMA_VERSION, Ownership, check_schema, connect, init_schema
    from pipeloom.db.place import check_place

    check_place(db)
    with Ownership(db), closing(connect(db, inspect=check_schema)) as conn:
        init_schema(conn, store_task_status=True)
    say(f"{clean(db)}: ready (ledger schema {SCHEMA_VERSION})")
