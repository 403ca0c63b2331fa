"""Options and output functions shared by several commands."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from functools import partial, wraps
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

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
    "traceback_option",
    "verbose_option",
    "workers_option",
]

ENVIRONMENT: Final = "PIPELOOM_DB"
"""The environment variable that names the database when the command line does not."""

_AGE: Final = re.compile(r"(\d{1,9}(?:\.\d+)?) *(s|min|m|h|d|w)")
_UNITS: Final = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

KINDS_S: Final = 60.0
"""Time limit for grouping failures. Files from older versions store no kinds, so every failure must be read."""

MOST: Final = (1 << 63) - 1  # the largest integer in SQLite


def at_most(_context: click.Context, _option: click.Parameter, value: int | None) -> int | None:
    """Clamp a number to SQLite's range; no file has more rows."""
    return None if value is None else min(value, MOST - 1)


class DatabasePath(click.Path):
    """A path as everywhere in pipeloom: ``~`` is the home directory, and URLs are refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)  # db reports it better, with the exit code for storage

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        from pipeloom.db.place import path_of

        try:
            return super().convert(path_of(value), param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.FloatRange):
    """A number of seconds; refuses ``nan``, which every range would accept."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return number


# click made the class generic after 8.2, the oldest version that is supported.
if TYPE_CHECKING:
    _TextType = click.ParamType[str]
else:
    _TextType = click.ParamType


class Instant(_TextType):
    """A point in time: an age such as ``2h``, or a date and time, local unless it names a zone."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the instant in the ledger's format."""
        text = str(value).strip()
        try:
            age = _AGE.fullmatch(text)
            if age is not None:
                found = datetime.now(UTC) - timedelta(seconds=float(age[1]) * _UNITS[age[2]])
            elif text[:3].isdigit() or ":" not in text:
                found = datetime.fromisoformat(text)
            else:  # today
                found = datetime.combine(datetime.now().astimezone(), time.fromisoformat(text))
            return utc_of(found.timestamp())
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{clean(text, 80)!r} is not a point in time: give an age (90s, 30min, 2h, 1d), a time today "
                "(14:30), or a date and time (2026-01-31T14:30)",
                param,
                ctx,
            )


def db_option(function: F) -> F:
    """``[DB]``, ``--db PATH`` or ``PIPELOOM_DB``; the command receives one path, ``db``."""
    return _named(function, has_word=True, variable=ENVIRONMENT)


def db_option_only(function: F) -> F:
    """The same without ``[DB]``, for a command whose own arguments leave no room for it."""
    return _named(function, has_word=False, variable=ENVIRONMENT)


def db_option_of(default: str | None = None) -> Callable[[F], F]:
    """``--db PATH`` with a default; without a default, ``[DB]`` too.

    These commands write their own data, which must not end up in a database meant for other work. So they
    ignore the environment variable.
    """

    def decorate(function: F) -> F:
        return _named(function, has_word=default is None, default=default)

    return decorate


def _named(function: F, *, has_word: bool, variable: str | None = None, default: str | None = None) -> F:
    """Add the database parameters to a command."""

    @wraps(function)
    def named(*args: Any, db: tuple[Path, ...], **values: Any) -> Any:
        word = values.pop("db_word", None)
        _check_order(values.get("task"), word)
        found = _one(db, word, has_word=has_word, variable=variable)
        if db or word is not None:
            return function(*args, db=found, **values)
        with _naming(variable, found):
            return function(*args, db=found, **values)

    shown: dict[str, Any] = {} if default is None else {"default": [default], "show_default": True}
    also = f" Default: the environment variable {variable}." if variable else ""
    option = click.option(
        "--db", type=DatabasePath(), multiple=True, metavar="PATH", help=f"The database file.{also}", **shown
    )
    command = option(cast("F", named))
    if not has_word:
        return command
    return click.argument("db_word", metavar="[DB]", required=False, type=DatabasePath())(command)


@contextmanager
def _naming(variable: str | None, db: Path) -> Iterator[None]:
    """Name the environment variable when the file that it names does not exist."""
    from pipeloom.errors import StorageError

    try:
        yield
    except StorageError as error:
        if variable is None or os.path.lexists(db):
            raise
        raise StorageError(f"{variable}: {error}", path=error.path) from error


def _check_order(task: str | None, word: Path | None) -> None:
    """Explain the order of arguments when the task looks like a file."""
    if task is not None and word is not None and not word.exists() and os.path.isfile(task):
        words = f"pipeloom {click.get_current_context().info_name} {shlex.quote(str(word))} {shlex.quote(task)}"
        raise click.UsageError(f"{clean(word, 200)}: no such file; the task comes first: {clean(words)}")


def _one(named: tuple[Path, ...], word: Path | None, *, has_word: bool, variable: str | None) -> Path:
    """Return the database; the command line takes precedence over the environment."""
    if len(named) > 1:  # all but one would be silently ignored
        raise click.UsageError(f"--db was given {len(named)} times: name one database")
    db = named[0] if named else None
    if db is not None and word is not None and os.path.realpath(db) != os.path.realpath(word):
        raise click.UsageError(
            f"two databases were named, {clean(word, 200)} and --db {clean(db, 200)}: name only one"
        )
    found = db or word or _of_environment(variable)
    if found is None:
        ways = [f"its path (pipeloom {_command()} out.db)"] if has_word else []
        ways += ["--db PATH", *([f"the variable {variable}"] if variable else [])]
        raise click.UsageError(f"no database was named: use {', '.join(ways[:-1])} or {ways[-1]}")
    return found


def _of_environment(variable: str | None) -> Path | None:
    from pipeloom.db.place import path_of

    try:
        return path_of(value) if variable and (value := os.environ.get(variable)) else None
    except ValueError as error:
        raise click.UsageError(f"{variable}: {error}") from None


def _command() -> str:
    """Return the current command as typed, with all arguments except the database."""
    context = click.get_current_context()
    words = [part.make_metavar(context) for part in context.command.params if isinstance(part, click.Argument)]
    return " ".join([context.info_name or "", *words[:-1]])


def json_option(function: F) -> F:
    """``--json``: one machine-readable document."""
    return click.option("--json", "as_document", is_flag=True, help="Print one JSON document.")(function)


def limit_option(default: int, what: str) -> Callable[[F], F]:
    """``-n/--limit N``; ``None`` when it is not given: see :func:`pipeloom.cli.listing.how_many`."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        metavar="N",
        callback=at_most,
        help=f"Maximum number of {what}. Default: {default}, or all when --json goes to a pipe or file.",
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
    part = "; or part of the exception or message, ignoring case" if by_part else ""
    return click.option(
        "--kind",
        "kinds",
        multiple=True,
        metavar="WORD",
        help=f"{what}. WORD is a kind's id as shown by `pipeloom errors`, or its first characters; an exception "
        f"such as ValueError; a status{part}. Repeatable.",
        shell_complete=completed("kinds"),
    )


def task_argument(function: F) -> F:
    """``TASK``."""
    return click.argument("task", shell_complete=completed("tasks"))(function)


def completed(what: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return a completion function for this sort of word; its imports wait until a shell asks."""

    def complete(context: click.Context, _option: click.Parameter, typed: str) -> Any:
        from pipeloom.cli import completing

        return getattr(completing, what)(context, typed, ENVIRONMENT)

    return complete


def workers_option(function: F) -> F:
    """``-w/--workers N``."""
    return click.option(
        "-w", "--workers", type=click.IntRange(1, 10_000), metavar="N",
        help="Number of workers. Default: cores + 4 threads, or one process per core.",
    )(function)  # fmt: skip


def executor_option(function: F) -> F:
    """``--executor threads|processes|dask|ADDRESS``."""
    return click.option(
        "--executor", metavar="threads|processes|dask|ADDRESS", default="threads", show_default=True,
        help="Where the workers run: threads in this process, separate processes, a local Dask cluster started for "
        "this run, or the Dask scheduler at ADDRESS (tcp://host:8786).",
    )(function)  # fmt: skip


_verbose: Final = partial(
    click.option, "-v", "--verbose", count=True, help="Log more (-vv: everything), and show tracebacks of errors."
)


def verbose_option(function: F) -> F:
    """``-v``: more output, and tracebacks for errors."""
    return _verbose()(function)


def traceback_option(function: F) -> F:
    """``-v`` of a command that logs nothing: only ``main()`` reads it, for tracebacks of errors."""
    return _verbose(expose_value=False)(function)


def say(what: Any) -> None:
    """Print text or a Rich renderable on standard output, as :func:`pipeloom.cli.formatting.draw` does.

    The work is already done by then, so a full disk is not an error here.
    """
    from pipeloom.cli.formatting import draw

    try:
        draw(what)
    except OSError:
        lead_nowhere(sys.stdout.fileno())
