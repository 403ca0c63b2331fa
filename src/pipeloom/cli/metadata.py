"""``pipeloom metadata``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import click

from pipeloom.cli.options import db_option


@click.command(name="metadata")
@db_option
def command(db: Path) -> None:
    """Print metadata with which Datasette explains a ledger: titles, descriptions, queries.

    `pipeloom metadata --db out.db | datasette out.db -m -`. Only the file's name is looked at.
    """
    about = json.loads((files("pipeloom") / "datasette.json").read_text(encoding="utf-8"))
    # Datasette knows a database by its file's name without suffix.
    click.echo(json.dumps({"databases": {db.stem: about}}, indent=2, ensure_ascii=True))
