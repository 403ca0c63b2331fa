"""``pipeloom doctor``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeloom.cli.options import Seconds, db_option, say, traceback_option
from pipeloom.data.rates import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from pipeloom.doctor import Finding

_STYLES: Final = {"ok": "green", "note": "yellow", "BAD": "bold red"}


@click.command(name="doctor")
@db_option
@click.option(
    "--deadline",
    type=Seconds(min=0, min_open=True),
    metavar="S",
    help="Time limit per check. Default: 60 s; then files over 1 GiB are checked without their indexes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@traceback_option
def command(db: Path, deadline: float | None, as_json: bool) -> int:
    """Check the health of a database and suggest repairs. Changes nothing; works even during a run.

    Exits with 0 when nothing is BAD, 1 when something is, 3 when the file cannot be read at all.
    """
    from pipeloom.doctor import examine

    step = _Step()
    try:
        found = examine(db, deadline_s=deadline, on_step=step.show if sys.stderr.isatty() else None)
    finally:
        step.clear()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        say(_as_table(found))
        say(_summary(db, found))
    return 1 if any(finding.verdict == "BAD" for finding in found) else 0


class _Step:
    """A temporary line on standard error that names the check in progress."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, step: str, seconds: float) -> None:
        self._shown = True
        click.echo(f"\r\x1b[2K{step} … {duration(seconds)}", nl=False, err=True)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[2K", nl=False, err=True)


def _as_table(found: Sequence[Finding]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in found:
        text = Text(finding.text)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style="dim")
        table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), Text(finding.check), text)
    return table


def _summary(db: Path, found: Sequence[Finding]) -> Text:
    from rich.text import Text

    from pipeloom.data.text import clean

    bad = sum(finding.verdict == "BAD" for finding in found)
    notes = sum(finding.verdict == "note" for finding in found)
    if bad:
        end = Text(f"{clean(db)} has problems: {bad} BAD", style="bold red")
    else:
        end = Text(f"{clean(db)} is healthy", style="bold green")
    if notes:
        end.append(f", {notes} {'note' if notes == 1 else 'notes'}", style="yellow")
    return end
