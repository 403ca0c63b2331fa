"""``pipeloom watch``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from pipeloom.cli.options import db_option, traceback_option
from pipeloom.data.text import clean
from pipeloom.show.streams import is_unread


@click.command(name="watch")
@db_option
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per change, for scripts.")
@traceback_option
def command(db: Path, as_json: bool) -> int:
    """Watch runs live in the terminal. Waits for the file and for the next run; reads only.

    Arrow keys select, Enter opens, Tab changes the page, ? lists the keys, q quits. If output is not a terminal,
    prints a plain line every few seconds.
    """
    if str(db) == ":memory:" or db.is_dir():
        what = "is a directory" if db.is_dir() else "is an in-memory database of another process"
        raise click.UsageError(f"{clean(db)} {what}: name a database file")
    if not as_json and _is_screen():
        return _live(db)
    from pipeloom.cli.watching.plain import watch_json, watch_lines

    try:
        (watch_json if as_json else watch_lines)(db, _say)
    except KeyboardInterrupt:
        pass
    return 0


def _is_screen() -> bool:
    return (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    )


def _live(db: Path) -> int:
    from pipeloom.cli.watching.live import watch_live
    from pipeloom.cli.watching.terminal import Ended

    try:
        watch_live(db)
    except Ended as end:
        return 0 if end.number == signal.SIGINT else 128 + end.number
    except OSError:  # the terminal is gone
        return 0
    return 0


def _say(line: str) -> bool:
    """Write a line, if any; return whether the output still has a reader, which ends a watch on a quiet file."""
    if line:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return not is_unread(sys.stdout)
