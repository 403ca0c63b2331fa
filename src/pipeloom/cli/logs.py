"""``pipeloom logs``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import click

from pipeloom.cli import formatting
from pipeloom.cli.listing import how_many, in_pages, left_out, note, tell_rows
from pipeloom.cli.options import at_most, db_option, json_option, task_argument, traceback_option
from pipeloom.data.text import clean
from pipeloom.errors import StorageError
from pipeloom.show.streams import is_unread
from pipeloom.statuses import OPEN

if TYPE_CHECKING:
    from pipeloom.history import Follower, History, LogRow, TaskRow

_SHOWN = 1000
_LOOK_S = 0.2
_QUIET_S = 1.0
_PAGE = 1000


@click.command(name="logs")
@task_argument
@db_option
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    metavar="N",
    callback=at_most,
    help=f"Show the last N records. Default: {_SHOWN:,}, or all when --json goes to a pipe or file.",
)
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the task ends, or Ctrl-C.")
@json_option
@traceback_option
def command(
    task: str,
    db: Path,
    lines: int | None,
    follow: bool,
    as_document: bool,
) -> None:
    """Show the log records of one task, from all its tries.

    TASK is its id, key or name. With --follow, --json prints one JSON document per line, one for each record.
    """
    from pipeloom.history import Follower

    with Follower(db) as ledger:
        history, _ = ledger.look()
        found = formatting.one_task(history, task, as_document=as_document)
        wanted = how_many(lines, _SHOWN, as_document=as_document and not follow)
        if wanted is None:
            tell_rows("logs", _all(history, found.id), lambda count: {"total": count, "more": False})
            return
        records = history.logs(found.id, limit=wanted, newest=True)
        if follow:
            _follow(ledger, found, records, as_lines=as_document)
            return
        total = len(records) if len(records) < wanted else history.count_logs(found.id)
    if as_document:
        tell_rows("logs", records, lambda count: {"total": total, "more": total > count})
    elif total:
        formatting.draw(*map(formatting.log_line, records))
    else:
        formatting.draw(f"task {found.id} ({clean(found.name, 80)}) has no log records")
    note(left_out(len(records), total, f"-n {total}"), as_document=as_document)


def _all(history: History, task_id: int) -> Iterator[LogRow]:
    return in_pages(lambda last, count: history.logs(task_id, last.id if last else 0, count), None, _PAGE)


def _follow(ledger: Follower, task: TaskRow, records: Sequence[LogRow], *, as_lines: bool) -> None:
    """Print records as they are committed, until the task has ended and no more arrive for a moment."""
    history, _ = ledger.look()
    last = history.logs(task.id, limit=1, newest=True)
    seen = last[0].id if last else 0
    try:
        _print(records, as_lines=as_lines)
        heard_at = monotonic()
        while not is_unread(sys.stdout):
            history, news = ledger.look()
            if news == "replaced":
                raise StorageError(
                    f"{clean(history.path)}: the file was replaced by another: run the command again",
                    path=history.path,
                )
            now = history.task(task.id, longest=0)
            records = history.logs(task.id, seen, _PAGE)
            if records:
                seen, heard_at = records[-1].id, monotonic()
                _print(records, as_lines=as_lines)
            elif now is None or now.status not in OPEN:  # a task waiting for a retry is queued
                quiet_s = monotonic() - heard_at
                if quiet_s >= _QUIET_S:
                    return
            sleep(0 if len(records) == _PAGE else _LOOK_S)
    except KeyboardInterrupt:
        return


def _print(records: Sequence[LogRow], *, as_lines: bool) -> None:
    if as_lines:
        for record in records:
            click.echo(json.dumps(formatting.as_json(record)))
    elif records:
        formatting.draw(*map(formatting.log_line, records))
