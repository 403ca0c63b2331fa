"""Options that several commands share, and how they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["db_option", "say", "verbose_option", "workers_option"]


def db_option(function: F) -> F:
    """``--db PATH``."""
    return click.option(
        "--db",
        "db",
        required=True,
        type=click.Path(path_type=Path, readable=False),  # db says it better, with the exit code for storage
        metavar="PATH",
        help="The database file.",
    )(function)


def workers_option(function: F) -> F:
    """``-w/--workers N``."""
    return click.option(
        "-w", "--workers", type=click.IntRange(min=1), metavar="N", help="Worker threads. Default: cores + 4."
    )(function)


def verbose_option(function: F) -> F:
    """``-v``: more words, and tracebacks for errors of the program itself."""
    return click.option(
        "-v", "--verbose", count=True, help="Say more (-vv: everything); errors come with tracebacks."
    )(function)


def say(what: Any) -> None:
    """Print something of Rich's, or text, on standard output; a closed output is no error."""
    from rich.console import Console

    try:
        Console(file=sys.stdout).print(what, soft_wrap=isinstance(what, str), markup=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Rich turns the one into the other
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
