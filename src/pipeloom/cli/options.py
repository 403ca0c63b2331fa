"""Options that several commands share, and how they print."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import wraps
from math import isnan
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from pipeloom.data.clock import utc_of
from pipeloom.data.text import clean
from pipeloom.show.streams import lead_nowhere

F = TypeVar("F", bound=Callable[..., Any])

__all__ = [
    "ENVIRONMENT",
    "KINDS_S",
    "MOST",
    "DatabasePath",
    "Instant",
    "Seconds",
    "at_most",
    "completed",
    "db_option",
    "db_option_of",
    "db_option_only",
    "executor_option",
    "json_option",
    "kind_option",
    "limit_option",
    "run_option",
    "say",
    "task_argument",
    "verbose_option",
    "workers_option",
]

ENVIRONMENT: Final = "PIPELOOM_DB"
"""Names the database where the command line does not."""

_AGE: Final = re.compile(r"(\d{1,9}(?:\.\d+)?) *(s|min|m|h|d|w)")
_UNITS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

KINDS_S: Final = 60.0
"""How long kinds of failure may take: a file of an older version knows none, and each failure is looked at."""

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


class Instant(click.ParamType[str]):
    """A point in time: an age such as ``2h``, or a date and time, local unless it names a zone."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the instant as the ledger writes it."""
        text = str(value).strip()
        try:
            age = _AGE.fullmatch(text)
            if age is not None:
                found = datetime.now(UTC) - timedelta(seconds=float(age[1]) * _UNITS[age[2]])
            elif text[:3].isdigit() or ":" not in text:
                found = datetime.fromisoformat(text)
            else:  # of today
                found = datetime.combine(datetime.now().astimezone(), time.fromisoformat(text))
            return utc_of(found.timestamp())
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{clean(text, 80)!r} is no point in time: give an age (90s, 30min, 2h, 1d), a time of today "
                "(14:30), or a date and time (2026-01-31T14:30)",
                param,
                ctx,
            )


def db_option(function: F) -> F:
    """``[DB]`` or ``--db PATH``, or else ``PIPELOOM_DB``; the command gets one path, ``db``."""
    return _named(function, has_word=True, variable=ENVIRONMENT)


def db_option_only(function: F) -> F:
    """The same without ``[DB]``, for a command whose own arguments leave no room for a path."""
    return _named(function, has_word=False, variable=ENVIRONMENT)


def db_option_of(default: str | None = None) -> Callable[[F], F]:
    """``--db PATH``, or the default; without one, ``[DB]`` too.

    These commands bring work of their own, which belongs into no file that was named for other work: the
    variable does not count.
    """

    def decorate(function: F) -> F:
        return _named(function, has_word=default is None, default=default)

    return decorate


def _named(function: F, *, has_word: bool, variable: str | None = None, default: str | None = None) -> F:
    """Have a command know its database."""

    @wraps(function)
    def named(*args: Any, db: tuple[Path, ...], **values: Any) -> Any:
        word = values.pop("db_word", None)
        _check_order(values.get("task"), word)
        return function(*args, db=_one(db, word, has_word=has_word, variable=variable), **values)

    shown: dict[str, Any] = {} if default is None else {"default": [default], "show_default": True}
    also = f" Default: the environment variable {variable}." if variable else ""
    option = click.option(
        "--db", type=DatabasePath(), multiple=True, metavar="PATH", help=f"The database file.{also}", **shown
    )
    command = option(cast("F", named))
    if not has_word:
        return command
    return click.argument("db_word", metavar="[DB]", required=False, type=DatabasePath())(command)


def _check_order(task: str | None, word: Path | None) -> None:
    """Say which comes first, where a file stands in place of the task."""
    if task is not None and word is not None and not word.exists() and os.path.isfile(task):
        words = f"pipeloom {click.get_current_context().info_name} {shlex.quote(str(word))} {shlex.quote(task)}"
        raise click.UsageError(f"{clean(word, 200)}: no such file; the task comes first: {clean(words)}")


def _one(named: tuple[Path, ...], word: Path | None, *, has_word: bool, variable: str | None) -> Path:
    """Return the one database that is meant: that of the command line before that of the environment."""
    if len(named) > 1:  # of a second one nothing would be seen
        raise click.UsageError(f"--db is given {len(named)} times: name one database")
    db = named[0] if named else None
    if db is not None and word is not None and os.path.realpath(db) != os.path.realpath(word):
        raise click.UsageError(f"two databases are named, {clean(word, 200)} and --db {clean(db, 200)}: name one")
    found = db or word or _of_environment(variable)
    if found is None:
        ways = [f"its path (pipeloom {_command()} out.db)"] if has_word else []
        ways += ["--db PATH", *([f"the variable {variable}"] if variable else [])]
        raise click.UsageError(f"no database is named: name it by {', '.join(ways[:-1])} or {ways[-1]}")
    return found


def _of_environment(variable: str | None) -> Path | None:
    from pipeloom.db.place import path_of

    try:
        return path_of(value) if variable and (value := os.environ.get(variable)) else None
    except ValueError as error:
        raise click.UsageError(f"{variable}: {error}") from None


def _command() -> str:
    """Return the present command as it is typed: with its arguments, but for the database."""
    context = click.get_current_context()
    words = [part.make_metavar(context) for part in context.command.params if isinstance(part, click.Argument)]
    return " ".join([context.info_name or "", *words[:-1]])


def json_option(function: F) -> F:
    """``--json``: one document for machines."""
    return click.option("--json", "as_document", is_flag=True, help="Print one JSON document instead.")(function)


def limit_option(default: int, what: str) -> Callable[[F], F]:
    """``-n/--limit N``; ``None`` when it is not given: see :func:`pipeloom.cli.listing.how_many`."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        metavar="N",
        callback=at_most,
        help=f"How many {what}. Default: {default}; all of them for --json into a pipe or file.",
    )


def run_option(what: str) -> Callable[[F], F]:
    """``--run N``."""
    return click.option(
        "--run",
        "run_id",
        type=click.IntRange(min=0),
        metavar="N",
        callback=at_most,
        help=what,
        shell_complete=completed("runs"),
    )


def kind_option(what: str, *, by_part: bool = True) -> Callable[[F], F]:
    """``--kind WORD``, repeatable."""
    part = ", or a part of the exception or message, in any case" if by_part else ""
    return click.option(
        "--kind",
        "kinds",
        multiple=True,
        metavar="WORD",
        help=f"{what}: the id of a kind as `pipeloom errors` shows it, or its beginning; an exception such as "
        f"ValueError; a status{part}. Repeatable.",
        shell_complete=completed("kinds"),
    )


def task_argument(function: F) -> F:
    """``TASK``."""
    return click.argument("task", shell_complete=completed("tasks"))(function)


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return what completes a word of this sort; all that it takes is loaded when a shell asks."""

    def complete(context: click.Context, _option: click.Parameter, typed: str) -> Any:
        from pipeloom.cli import completing

        return getattr(completing, what)(context, typed, ENVIRONMENT)

    return complete


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
