"""``pipeloom tasks``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from pipeloom.cli import formatting
from pipeloom.cli.listing import count_of, how_many, in_pages, left_out, note, tell_rows
from pipeloom.cli.options import (
    KINDS_S,
    Instant,
    Seconds,
    db_option,
    json_option,
    kind_option,
    limit_option,
    run_option,
    traceback_option,
)
from pipeloom.statuses import TASK_STATUSES

if TYPE_CHECKING:
    from pipeloom.history import TaskRow

_SHOWN: Final = 20
_PAGE: Final = 10_000  # large: ordered by duration, each page scans all tasks


@click.command(name="tasks")
@db_option
@click.option(
    "-s",
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(TASK_STATUSES),
    help="Only tasks with this status; repeatable.",
)
@click.option("--name", metavar="TEXT", help="Only tasks with this text in their name or key, ignoring case.")
@kind_option("Only tasks with this kind of failure")
@click.option(
    "--message", metavar="TEXT", help="Only tasks with this text in their message or exception, ignoring case."
)
@click.option(
    "--since",
    type=Instant(),
    metavar="WHEN",
    help="Only tasks that ended since WHEN, or began if unfinished. WHEN is an age (2h, 30min, 1d), a time today "
    "(14:30), or a date and time (2026-01-31T14:30); local unless it names a time zone.",
)
@click.option(
    "--until", type=Instant(), metavar="WHEN", help="Only tasks that ended by WHEN, or began if unfinished."
)
@click.option(
    "--slower-than",
    "slower_than_s",
    type=Seconds(min=0),
    metavar="SECONDS",
    help="Only tasks that took longer, or have been running for longer.",
)
@run_option("Only tasks last tried in this run.")
@click.option(
    "--order",
    type=click.Choice(["recent", "oldest", "slowest"]),
    default="recent",
    show_default=True,
    help="Sort order: highest id first, lowest id first, or longest first.",
)
@limit_option(_SHOWN, "tasks")
@json_option
@traceback_option
def command(
    db: Path,
    statuses: tuple[str, ...],
    kinds: tuple[str, ...],
    run_id: int | None,
    order: Literal["recent", "oldest", "slowest"],
    limit: int | None,
    as_document: bool,
    **filters: Any,
) -> None:
    """List tasks, latest first."""
    from pipeloom.history import History

    wanted = how_many(limit, _SHOWN, as_document=as_document)
    with History(db, deadline_s=KINDS_S) if kinds else History(db) as history:
        formatting.check_run(history, run_id)
        filters |= {
            "status": statuses or None,
            "kind": formatting.kinds_named(history, kinds) or None,
            "run_id": run_id,
        }

        def read(last: TaskRow | None, count: int) -> list[TaskRow]:
            after = None if last is None else last.id
            return history.tasks(limit=count, after_id=after, order=order, **filters)

        if wanted is None:
            tell_rows("tasks", in_pages(read, None, _PAGE), lambda count: {"total": count, "more": False})
            return
        tasks = list(in_pages(read, wanted, _PAGE))
        total = len(tasks) if len(tasks) < wanted else count_of(lambda: history.count_tasks(**filters))
        any_at_all = bool(tasks or total) or bool(history.tasks(limit=1))
    if as_document:
        tell_rows("tasks", tasks, lambda count: {"total": total, "more": total is None or total > count})
    elif total == 0:
        formatting.draw("no matching tasks" if any_at_all else "no tasks yet")
    else:
        formatting.draw(formatting.task_table(tasks))
    note(left_out(len(tasks), total, f"-n {total or len(tasks) * 10}"), as_document=as_document)
