"""``pipeloom cancel``."""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final

import click

from pipeloom.cli.options import Seconds, db_option, say, traceback_option
from pipeloom.data.rates import duration
from pipeloom.data.totals import SKIPPED, totals

if TYPE_CHECKING:
    from pipeloom.history import History, RunRow

_GLANCE_S: Final = 0.1
_WAIT_S: Final = 30.0


@click.command(name="cancel")
@db_option
@click.option("--drain", is_flag=True, help="Let running tasks finish, but start no new ones.")
@click.option(
    "--timeout",
    type=Seconds(min=0),
    default=_WAIT_S,
    show_default=True,
    metavar="S",
    help="How long to wait for the run to end.",
)
@click.option("--no-wait", is_flag=True, help="Return at once, without waiting for the run to end.")
@traceback_option
def command(db: Path, drain: bool, timeout: float, no_wait: bool) -> int:
    """Stop the current run, as Ctrl-C in its terminal does. Run it again to do the rest.

    Exits with 0 when the run has ended (with --no-wait: when the request was made), 1 when no run is in progress or
    it did not end in time, 3 when the request cannot be made.
    """
    from pipeloom.data.text import clean
    from pipeloom.db.cancel import request_cancel
    from pipeloom.history import History

    with History(db) as history:
        run = _going_on(history)
        if run is None:
            click.echo(f"pipeloom: {clean(db)}: no run is in progress, so there is nothing to stop", err=True)
            return 1
        request_cancel(db, run.run_id, "drain" if drain else "cancel")
        name = f"run {run.run_id}" + (f" of {clean(run.title, 60)}" if run.title else "")
        say(f"asked {name} to stop; " + ("running tasks finish" if drain else "running tasks are cancelled"))
        if no_wait:
            return 0
        return _wait(history, run, name, timeout)


def _going_on(history: History) -> RunRow | None:
    """Return the latest run, if it is in progress and its process is alive."""
    run = history.latest_run()
    return run if run is not None and history.is_alive(run) else None


def _wait(history: History, run: RunRow, name: str, timeout_s: float) -> int:
    """Wait until the run has closed its row or its process is gone; print how it ended."""
    from pipeloom.db.ownership import owner_seen

    until = monotonic() + timeout_s
    while history.is_alive(run):
        if monotonic() > until:
            owner = owner_seen(history.path)
            # A process id from another container would name some other process here.
            how = (
                f"kill {owner}"
                if owner is not None and owner.pid and owner.is_near
                else "kill it on its own machine"
            )
            click.echo(
                f"pipeloom: {name} did not end within {duration(timeout_s)}: it stops when its running tasks "
                f"end; to stop it at once, {how}",
                err=True,
            )
            return 1
        sleep(_GLANCE_S)
    now = history.run(run.run_id)
    if now is None:  # its row was deleted
        say(f"{name} has ended")
    else:
        counts = ", ".join(f"{total.number:,} {total.word}" for total in totals(now) if total.kind != SKIPPED)
        say(f"{name} has ended: {now.status}, {counts}")
    return 0
