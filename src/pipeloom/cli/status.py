"""``pipeloom status``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeloom.cli import formatting
from pipeloom.cli.listing import left_out, note
from pipeloom.cli.options import at_most, db_option, traceback_option
from pipeloom.data.commands import typed
from pipeloom.show.streams import is_unread

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeloom.history import Follower, Overview

_WATCH_S = 1.0


@click.command(name="status")
@db_option
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    callback=at_most,
    help="Maximum number of tasks.",
)
@click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@click.option("--json", "form", flag_value="json", help="Same as -f json.")
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@traceback_option
def command(db: Path, limit: int, form: str, watch: bool) -> None:
    """Show the latest run, the number of tasks by status, and tasks: running and failed ones first.

    Reads only; works even during a run.
    """
    from pipeloom.history import Follower

    with Follower(db) as ledger:
        history, _ = ledger.look()
        if watch:
            _watch(ledger, limit, form)
            return
        overview = history.overview(limit)
    if form == "json":
        formatting.tell(_document(overview))
    else:
        formatting.draw(*_parts(overview), *_next(overview, db))
        total = sum(overview.counts.values())
        note(left_out(len(overview.tasks), total, typed("tasks", db)))


def _document(overview: Overview) -> dict[str, Any]:
    total = sum(overview.counts.values())
    return {**formatting.as_json(overview), "total": total, "more": total > len(overview.tasks)}


def _watch(ledger: Follower, limit: int, form: str) -> None:
    """Redraw every second; JSON as one line per refresh."""
    looks = _looks(ledger, limit)
    try:
        if form == "json":
            for overview in looks:
                click.echo(json.dumps(_document(overview)))
            return
        from rich.console import Group
        from rich.live import Live

        from pipeloom.cli.grid import Trimmed

        with Live(console=formatting.console(), auto_refresh=False, screen=False) as live:
            for overview in looks:
                live.update(Trimmed(Group(*_parts(overview))), refresh=True)
    except KeyboardInterrupt:
        return


def _looks(ledger: Follower, limit: int) -> Iterator[Overview]:
    """Yield an overview every second while the output has a reader."""
    from time import sleep

    while not is_unread(sys.stdout):
        history, _ = ledger.look()
        yield history.overview(limit)
        sleep(_WATCH_S)


def _parts(overview: Overview) -> list[RenderableType]:
    parts: list[RenderableType] = [formatting.run_line(overview.run), formatting.counts_line(overview.counts)]
    return [*parts, formatting.task_table(overview.tasks)] if overview.tasks else parts


def _next(overview: Overview, db: Path) -> list[RenderableType]:
    """Return a line saying how to see why tasks failed."""
    from rich.text import Text

    from pipeloom.history import failed_counts

    if not failed_counts(overview.counts):
        return []
    return [Text(f"why they failed: {typed('errors', db)}", style="dim")]
