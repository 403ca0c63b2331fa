"""``pipeloom tasks``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import Seconds, db_option, json_option, limit_option, run_option, verbose_option
from pipeloom.statuses import TASK_STATUSES


@click.command(name="tasks")
@db_option
@click.option(
    "-s", "--status", "statuses", multiple=True, type=click.Choice(TASK_STATUSES), help="Only such; repeatable."
)
@click.option("--name", metavar="TEXT", help="Only those with this in their name or key, in any case.")
@click.option(
    "--slower-than",
    "slower_than_s",
    type=Seconds(min=0),
    metavar="SECONDS",
    help="Only those that took longer; running ones, until now.",
)
@run_option("Only those last tried in this run.")
@click.option(
    "--order",
    type=click.Choice(["recent", "oldest", "slowest"]),
    help="By number, the last or the first one first, or by time taken. Default: recent.",
)
@limit_option(20, "tasks")
@json_option
@verbose_option
def command(
    db: Path,
    statuses: tuple[str, ...],
    name: str | None,
    slower_than_s: float | None,
    run_id: int | None,
    order: Literal["recent", "oldest", "slowest"] | None,
    limit: int,
    as_document: bool,
    verbose: int,  # noqa: ARG001 - read by main()
) -> None:
    """List tasks, the latest first."""
    from pipeloom.history import History

    with History(db) as history:
        formatting.check_run(history, run_id)
        found = history.tasks(
            limit=limit + 1,
            status=statuses or None,
            name=name,
            run_id=run_id,
            slower_than_s=slower_than_s,
            order=order or "recent",
        )
        tasks = found[:limit]
        any_at_all = bool(found) or bool(history.tasks(limit=1))
    if as_document:
        formatting.tell({"tasks": [formatting.as_json(task) for task in tasks]})
    elif not found:
        formatting.draw("no such tasks" if any_at_all else "no tasks yet")
    elif len(found) > len(tasks):
        formatting.draw(
            formatting.task_table(tasks), f"{len(tasks):,} shown, there are more: -n {max(len(tasks) * 10, 20)}"
        )
    else:
        formatting.draw(formatting.task_table(tasks))
