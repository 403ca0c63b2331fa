"""``pipeloom runs``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeloom.cli import formatting
from pipeloom.cli.listing import how_many, in_pages, left_out, note, tell_rows
from pipeloom.cli.options import db_option, json_option, limit_option, traceback_option
from pipeloom.data.commands import typed
from pipeloom.data.rates import duration
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from pipeloom.cli.grid import Grid
    from pipeloom.history import RunRow

_SHOWN: Final = 20


@click.command(name="runs")
@db_option
@limit_option(_SHOWN, "runs")
@json_option
@traceback_option
def command(db: Path, limit: int | None, as_document: bool) -> None:
    """List the runs in a database, latest first, with their outcomes and counts."""
    from pipeloom.history import History

    wanted = how_many(limit, _SHOWN, as_document=as_document)
    with History(db) as history:

        def read(last: RunRow | None, count: int) -> list[RunRow]:
            return history.runs(count, before=None if last is None else last.run_id)

        if wanted is None:
            tell_rows("runs", in_pages(read, None), lambda count: {"total": count, "more": False})
            return
        runs = history.runs(wanted)
        total = history.count_runs() if len(runs) == wanted else len(runs)
    if as_document:
        tell_rows("runs", runs, lambda count: {"total": total, "more": total > count})
    elif not total:
        formatting.draw("no runs yet")
    else:
        gone = [formatting.gone(run) for run in runs if run.is_unclosed]
        formatting.draw(_table(runs), "\n".join(gone) or None)
    note(left_out(len(runs), total, typed("runs", db, "-n", total)), as_document=as_document)


def _table(runs: Sequence[RunRow]) -> Grid:
    from pipeloom.cli.grid import Grid

    rows = [
        (
            str(run.run_id),
            clean(run.title or "", 200),
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
