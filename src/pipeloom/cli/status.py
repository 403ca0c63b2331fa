"""``pipeloom status``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import db_option, limit_option, verbose_option
from pipeloom.show.streams import is_unread

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeloom.history import Follower, Overview

_WATCH_S = 1.0


@click.command(name="status")
@db_option
@limit_option(20, "tasks")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--json", "form", flag_value="json", help="The same as -f json.")
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@verbose_option
def command(db: Path, limit: int, form: str, watch: bool, verbose: int) -> None:  # noqa: ARG001 - verbose: main()
    """Show the latest run, how many tasks there are of each status, and the running and the bad ones first.

    Reads only, also while a run is going on.
    """
    from pipeloom.history import Follower

    with Follower(db) as ledger:
        history, _ = ledger.look()
        if watch:
            _watch(ledger, limit, form)
            return
        overview = history.overview(limit)
    if form == "json":
        formatting.tell(formatting.as_json(overview))
    else:
        formatting.draw(*_parts(overview), *_next(overview, db))


def _watch(ledger: Follower, limit: int, form: str) -> None:
    """Draw again and again; JSON as one line per look."""
    looks = _looks(ledger, limit)
    try:
        if form == "json":
            for overview in looks:
                click.echo(json.dumps(formatting.as_json(overview)))
            return
        from rich.console import Console, Group
        from rich.live import Live

        with Live(console=Console(), auto_refresh=False, screen=False) as live:
            for overview in looks:
                live.update(Group(*_parts(overview)), refresh=True)
    except KeyboardInterrupt:
        return


def _looks(ledger: Follower, limit: int) -> Iterator[Overview]:
    """Yield what there is once a second, as long as anybody reads it."""
    from time import sleep

    while not is_unread(sys.stdout):
        history, _ = ledger.look()
        yield history.overview(limit)
        sleep(_WATCH_S)


def _parts(overview: Overview) -> list[RenderableType]:
    parts: list[RenderableType] = [formatting.run_line(overview.run), formatting.counts_line(overview.counts)]
    return [*parts, formatting.task_table(overview.tasks)] if overview.tasks else parts


def _next(overview: Overview, db: Path) -> list[RenderableType]:
    """Say where the rest is, when not all is shown, and where the reasons are."""
    from rich.text import Text

    from pipeloom.history import failed_counts

    lines = []
    total = sum(overview.counts.values())
    if total > len(overview.tasks):
        lines.append(f"{len(overview.tasks):,} of {total:,} tasks; all of them: {formatting.typed('tasks', db)}")
    if failed_counts(overview.counts):
        lines.append(f"why they failed: {formatting.typed('errors', db)}")
    return [Text("\n".join(lines), style="dim")] if lines else []
