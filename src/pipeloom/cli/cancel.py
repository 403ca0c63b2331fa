"""``pipeloom cancel``."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

import click

from pipeloom.cli.options import Seconds, db_option, say, verbose_option
from pipeloom.data.rates import duration
from pipeloom.data.totals import SKIPPED, totals

if TYPE_CHECKING:
    from pipeloom.history import History, RunRow

_GLANCE_S: Final = 0.1
_WAIT_S: Final = 30.0


@click.command(name="cancel")
@db_option
@click.option("--drain", is_flag=True, help="Let the tasks that are running finish; only begin no others.")
@click.option(
    "--timeout",
    type=Seconds(min=0),
    default=_WAIT_S,
    show_default=True,
    metavar="S",
    help="How long to wait for the run to end.",
)
@click.option("--no-wait", is_flag=True, help="Ask, and do not wait.")
@verbose_option
def command(db: Path, drain: bool, timeout: float, no_wait: bool, verbose: int) -> int:  # noqa: ARG001 - read by main()
    """Ask the run that is going on to stop, as Ctrl-C in its terminal does; run it again to do the rest.

    Exits with 0 when the run has ended (or, with --no-wait, was asked), 1 when none is going on or it has not ended
    in time, 3 when it cannot be asked.
    """
    from pipeloom.data.text import clean
    from pipeloom.db.cancel import request_cancel
    from pipeloom.history import History

    with History(db) as history:
        run = _going_on(history)
        if run is None:
            click.echo(f"pipeloom: {clean(db)}: no run is going on: there is nothing to stop", err=True)
            return 1
        request_cancel(db, run.run_id, "drain" if drain else "cancel")
        name = f"run {run.run_id}" + (f" of {clean(run.title, 60)}" if run.title else "")
        say(f"asked {name} to stop; " + ("running tasks finish" if drain else "running tasks are cancelled"))
        if no_wait:
            return 0
        return _wait(history, run, name, timeout)


def _going_on(history: History) -> RunRow | None:
    """Return the latest run, if it is going on and its process lives."""
    run = history.latest_run()
    return run if run is not None and history.is_alive(run) else None


def _wait(history: History, run: RunRow, name: str, timeout_s: float) -> int:
    """Wait until the run has closed its row, or its process is gone; say how it ended."""
    from pipeloom.db.ownership import owner_seen

    until = monotonic() + timeout_s
    while history.is_alive(run):
        if monotonic() > until:
            owner = owner_seen(history.path)
            # Another container's number is, here, somebody else's process.
            how = f"kill {owner}" if owner is not None and owner.pid and owner.is_near else "end it where it runs"
            click.echo(
                f"pipeloom: {name} has not ended within {duration(timeout_s)}: it stops when its running tasks "
                f"end; to stop it at once, {how}",
                err=True,
            )
            return 1
        sleep(_GLANCE_S)
    now = history.run(run.run_id)
    if now is None:  # somebody has deleted its row
        say(f"{name} has ended")
    else:
        counts = ", ".join(f"{total.number:,} {total.word}" for total in totals(now) if total.kind != SKIPPED)
        say(f"{name} has ended: {now.status}, {counts}")
    return 0
