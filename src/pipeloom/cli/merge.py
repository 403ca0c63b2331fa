"""``pipeloom merge``."""

from __future__ import annotations

from pathlib import Path

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import DatabasePath, json_option, say, traceback_option


@click.command(name="merge")
@click.argument("out", type=DatabasePath())
@click.argument("inputs", metavar="IN...", type=DatabasePath(), nargs=-1, required=True)
@click.option("--append", is_flag=True, help="Add to an existing OUT.")
@click.option(
    "--renumber",
    multiple=True,
    metavar="TABLE",
    help="Give the rows of this table new ids, where SQLite assigned the same ids in several files; repeatable.",
)
@json_option
@traceback_option
def command(
    out: Path,
    inputs: tuple[Path, ...],
    append: bool,
    renumber: tuple[str, ...],
    as_document: bool,
) -> None:
    """Merge the databases IN, such as one per shard, into the new database OUT: ledgers and your tables.

    Either everything is merged or OUT stays unchanged; IN are only read. To process what is not done yet, run your
    program on OUT without a shard. Refused are: the same input in two files, conflicting rows, and a file in use by
    a run.
    """
    from pipeloom import merge

    try:
        report = merge(out, inputs, append=append, renumber=renumber)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if as_document:
        formatting.tell(formatting.as_json(report))
    else:
        say(str(report))
