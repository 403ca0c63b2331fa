"""Options that several commands share, and how they print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from pipeloom.show.streams import lead_nowhere

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "MOST",
    "DatabasePath",
    "Seconds",
    "at_most",
    "db_option",
    "db_option_of",
    "executor_option",
    "json_option",
    "limit_option",
    "run_option",
    "say",
    "verbose_option",
    "workers_option",
]

MOST: Final = (1 << 63) - 1  # the largest number that SQLite knows


def at_most(_context: click.Context, _option: click.Parameter, value: int | None) -> int | None:
    """Keep a number within what SQLite knows: no file has more rows."""
    return None if value is None else min(value, MOST - 1)


class DatabasePath(click.Path):
    """A path as all calls take it: ``~`` is the home directory, and a URL is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)  # db says it better, with the exit code for storage

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        from pipeloom.db.place import path_of

        try:
            return super().convert(path_of(value), param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds; ``nan``, which is within every range, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return number


def _one(_context: click.Context, option: click.Parameter, values: tuple[Path, ...]) -> Path:
    """Refuse a second database, of which nothing would be seen."""
    if len(values) > 1:
        raise click.BadParameter(f"is given {len(values)} times: name one database", param=option)
    return values[0]


def db_option(function: F) -> F:
    """``--db PATH``."""
    return _database(required=True)(function)


def db_option_of(default: str) -> Callable[[F], F]:
    """``--db PATH``, or the default."""
    return _database(default=[default], show_default=True)


def _database(**options: Any) -> Callable[[F], F]:
    return click.option(
        "--db",
        type=DatabasePath(),
        multiple=True,
        callback=_one,
        metavar="PATH",
        help="The database file.",
        **options,
    )


def json_option(function: F) -> F:
    """``--json``: one document for machines."""
    return click.option("--json", "as_document", is_flag=True, help="Print one JSON document instead.")(function)


def limit_option(default: int, what: str) -> Callable[[F], F]:
    """``-n/--limit N``."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        metavar="N",
        callback=at_most,
        help=f"How many {what}.",
    )


def run_option(what: str) -> Callable[[F], F]:
    """``--run N``."""
    return click.option("--run", "run_id", type=click.IntRange(min=0), metavar="N", callback=at_most, help=what)


def workers_option(function: F) -> F:
    """``-w/--workers N``."""
    return click.option(
        "-w", "--workers", type=click.IntRange(1, 10_000), metavar="N",
        help="How many workers. Default: cores + 4 threads, or a process for each core.",
    )(function)  # fmt: skip


def executor_option(function: F) -> F:
    """``--executor threads|processes|dask|ADDRESS``."""
    return click.option(
        "--executor", metavar="threads|processes|dask|ADDRESS", default="threads", show_default=True,
        help="Where the workers live: threads of this process, processes of their own, or a Dask cluster, which is "
        "started here, or has a scheduler at ADDRESS (tcp://host:8786).",
    )(function)  # fmt: skip


def verbose_option(function: F) -> F:
    """``-v``: more words, and tracebacks for errors of the program itself."""
    return click.option(
        "-v", "--verbose", count=True, help="Say more (-vv: everything); errors come with tracebacks."
    )(function)


def say(what: Any) -> None:
    """Print something of Rich's, or text, on standard output.

    What is said is about what has been done: a full disk is no error here.
    """
    from rich.console import Console

    try:
        Console(file=sys.stdout).print(what, soft_wrap=isinstance(what, str), markup=False)
        sys.stdout.flush()
    except OSError:
        lead_nowhere(sys.stdout.fileno())
