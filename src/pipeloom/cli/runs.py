"""``pipeloom runs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import db_option, json_option, limit_option, verbose_option
from pipeloom.data.rates import duration
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from pipeloom.cli.grid import Grid
    from pipeloom.history import RunRow


@click.command(name="runs")
@db_option
@limit_option(20, "runs")
@json_option
@verbose_option
def command(db: Path, limit: int, as_document: bool, verbose: int) -> None:  # noqa: ARG001 - verbose: main()
    """List the runs of a database, the latest first: how each ended, and what it did."""
    from pipeloom.history import History

    with History(db) as history:
        runs = history.runs(limit)
        more = bool(runs) and bool(history.runs(1, before=runs[-1].run_id))
    if as_document:
        formatting.tell({"runs": [formatting.as_json(run) for run in runs]})
        return
    if not runs:
        formatting.draw("no runs yet" if limit else "")
        return
    lines = [formatting.gone(run) for run in runs if run.is_unclosed]
    if more:
        lines.append(f"the latest {len(runs):,}; for more: {formatting.typed('runs', db, '-n', len(runs) * 10)}")
    formatting.draw(_table(runs), "\n".join(lines) or None)


def _table(runs: Sequence[RunRow]) -> Grid:
    from pipeloom.cli.grid import Grid

    rows = [
        (
            str(run.run_id),
            clean(run.title or "", 60),
            (clean(run.status, 20), formatting.style_of(run.status)),
            f"{run.done:,}",
            (f"{run.not_done:,}", "red" if run.not_done else "dim"),
            (f"{run.skipped:,}", "" if run.skipped else "dim"),
            duration(run.elapsed_s),
            formatting.when(run.started_at),
        )
        for run in runs
    ]
    return Grid([">run", "~pipeline", "status", ">done", ">failed", ">skipped", ">time", "started"], rows)
