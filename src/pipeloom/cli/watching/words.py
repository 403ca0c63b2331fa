"""A run in a few words, with the colours they may have; shared by the screen and the plain lines."""

from __future__ import annotations

from pipeloom.cli.formatting import style_of
from pipeloom.cli.watching.snapshot import Snapshot
from pipeloom.data.rates import duration, per_second, time_left
from pipeloom.data.text import clean
from pipeloom.statuses import DONE, RUNNING

__all__ = ["summary"]


def summary(snapshot: Snapshot, now: float) -> list[tuple[str, str]]:
    """Return counts, rate and times as (words, style).

    Args:
        snapshot: What there is; without a run, the counts of tasks.
        now: The monotonic clock, in seconds.
    """
    run = snapshot.run
    if run is None:
        return [(f"{count:,} {clean(status, 20)}", style_of(status)) for status, count in snapshot.counts.items()]
    parts = [
        (f"{total.inputs:,} {total.name}", style_of(total.kind))
        for total in run.totals
        if total.inputs or total.kind == DONE
    ]
    if waiting := snapshot.waiting_retries:
        parts.append((f"{waiting:,} waiting for a retry", "yellow"))
    if run.status == RUNNING:
        parts.append((per_second(snapshot.rate), ""))
        if run.elapsed_s is not None:
            parts.append((duration(run.elapsed_s + max(now - snapshot.at, 0.0)), ""))
        if left := time_left(snapshot.rate, run.expected, run.ended):
            parts.append((left, ""))
        return parts
    if run.elapsed_s is not None:
        parts.append((f"took {duration(run.elapsed_s)}", ""))
    if run.is_unclosed:
        parts.append(("its process is gone", "yellow"))
    parts.append(("waiting for the next run", "dim"))
    return parts
