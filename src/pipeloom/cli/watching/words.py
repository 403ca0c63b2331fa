"""A run in a few words, with the colours they may have; shared by the screen and the plain lines."""

from __future__ import annotations

from pipeloom.cli.formatting import style_of
from pipeloom.cli.watching.scene import Scene
from pipeloom.data.rates import duration, per_second, time_left
from pipeloom.data.text import clean
from pipeloom.data.totals import totals
from pipeloom.statuses import RUNNING

__all__ = ["summary"]


def summary(scene: Scene, now: float) -> list[tuple[str, str]]:
    """Return counts, rate and times as (words, style).

    Args:
        scene: What there is; without a run, the counts of tasks.
        now: The monotonic clock, in seconds.
    """
    run = scene.run
    if run is None:
        return [(f"{count:,} {clean(status, 20)}", style_of(status)) for status, count in scene.counts.items()]
    parts = [(f"{total.number:,} {total.word}", style_of(total.kind)) for total in totals(run)]
    if waiting := scene.waiting_retries:
        parts.append((f"{waiting:,} waiting for a retry", "yellow"))
    if run.status == RUNNING:
        parts.append((per_second(scene.rate), ""))
        if run.elapsed_s is not None:
            parts.append((duration(run.elapsed_s + scene.since(now)), ""))
        if left := time_left(scene.rate, run.expected, run.ended):
            parts.append((left, ""))
        return parts
    if run.elapsed_s is not None:
        parts.append((f"took {duration(run.elapsed_s)}", ""))
    if run.is_unclosed:
        parts.append(("its process is gone", "yellow"))
    parts.append(("waiting for the next run", "dim"))
    return parts
