"""``pipeloom watch``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from pipeloom.cli.options import db_option, verbose_option
from pipeloom.data.text import clean
from pipeloom.show.streams import is_unread


@click.command(name="watch")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per change, for programs.")
@verbose_option
def command(db: Path, as_json: bool, verbose: int) -> int:  # noqa: ARG001 - verbose: main()
    """Watch runs live, from any terminal: waits for the file, and for the next run; only ever reads.

    On a terminal: arrow keys select, Enter opens, Tab shows other pages, ? lists the keys, q quits. Elsewhere a
    plain line every few seconds.
    """
    if str(db) == ":memory:" or db.is_dir():
        what = "is a directory" if db.is_dir() else "is in the memory of another process"
        raise click.UsageError(f"{clean(db)}: {what}: name a database file")
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
    except OSError:  # the terminal has gone
        return 0
    return 0


def _say(line: str) -> bool:
    """Write a line, if any; return whether anybody still reads: a quiet file must not keep us for ever."""
    if line:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return not is_unread(sys.stdout)
