"""``pipeloom status``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeloom.cli.options import db_option, say, verbose_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeloom.history import Overview, TaskRow

_STYLES = {"done": "green", "running": "cyan", "queued": "dim", "interrupted": "yellow", "cancelled": "yellow"}
_WATCH_S = 1.0


@click.command(name="status")
@db_option
@click.option("-n", "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many tasks.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")
@verbose_option
def command(db: Path, limit: int, form: str, watch: bool, verbose: int) -> None:  # noqa: ARG001 - verbose: main()
    """Show the state of the tasks in a database; reads only, also while a run is going on."""
    from pipeloom.history import History

    with History(db) as history:
        if watch:
            _watch(history, limit, form)
            return
        overview = history.overview(limit)
    if form == "json":
        click.echo(json.dumps(_as_json(overview), indent=2))
    else:
        say(_as_table(overview))


def _watch(history: Any, limit: int, form: str) -> None:
    """Draw again and again; JSON as one line per look."""
    from time import sleep

    try:
        if form == "json":
            while True:
                click.echo(json.dumps(_as_json(history.overview(limit))))
                sleep(_WATCH_S)
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(), auto_refresh=False, screen=False) as live:
            while True:
                live.update(_as_table(history.overview(limit)), refresh=True)
                sleep(_WATCH_S)
    except KeyboardInterrupt:
        return


def _as_json(overview: Overview) -> dict[str, Any]:
    return dataclasses.asdict(overview)


def _as_table(overview: Overview) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text()
    for status, count in sorted(overview.counts.items()):
        head.append(f"{count:,} {status}  ", style=_STYLES.get(status, "red"))
    if not overview.counts:
        head.append("no tasks yet", style="dim")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("id", justify="right")
    table.add_column("task", overflow="ellipsis", no_wrap=True, ratio=2)
    table.add_column("status", no_wrap=True)
    table.add_column("progress", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("message", overflow="ellipsis", no_wrap=True, ratio=3)
    for task in overview.tasks:
        table.add_row(*_cells(task))
    parts: list[RenderableType] = [_run_line(overview), head]
    return Group(*parts, table) if overview.tasks else Group(*parts)


def _cells(task: TaskRow) -> tuple[Any, ...]:
    from rich.text import Text

    from pipeloom.text import clean

    return (
        str(task.id),
        Text(clean(task.name, 80)),
        Text(clean(task.status), style=_STYLES.get(task.status, "red")),
        f"{task.progress * 100:.0f} %",
        f"{task.elapsed_s:.1f} s" if task.elapsed_s is not None else "",
        Text(clean(task.message or "", 200)),
    )


def _run_line(overview: Overview) -> RenderableType:
    from rich.text import Text

    from pipeloom.text import clean

    run = overview.run
    if run is None:
        return Text("no runs yet", style="dim")
    line = Text(f"run {run.run_id}", style="bold")
    if run.pipeline:
        line.append(f" of {clean(run.pipeline, 60)}", style="bold")
    line.append(f"  {run.status}", style=_STYLES.get(run.status, "red"))
    ended = run.done + run.failed + run.cancelled + run.timed_out + run.skipped
    line.append(f"  {ended:,}" + (f"/{run.expected:,}" if run.expected is not None else "") + " inputs")
    if run.elapsed_s is not None:
        line.append(f" in {run.elapsed_s:.1f} s")
    return line.append(f"  since {run.started_at[:19].replace('T', ' ')} UTC", style="dim")
