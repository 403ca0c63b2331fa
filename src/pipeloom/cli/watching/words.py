"""A run in a few words, with colours; shared by the screen and the plain lines."""

from __future__ import annotations

from pipeloom.cli.formatting import style_of
from pipeloom.cli.watching.scene import Scene
from pipeloom.data.rates import age, per_second
from pipeloom.data.text import clean
from pipeloom.data.totals import how_many, totals
from pipeloom.show.figures import average, ending, totals_parts
from pipeloom.show.parts import Part
from pipeloom.statuses import CANCELLED, ERROR, RUNNING, TIMED_OUT

__all__ = ["summary"]


def summary(scene: Scene, now: float) -> list[Part]:
    """Return counts, rate and times.

    Args:
        scene: What was read; without a run, the result is the counts of tasks.
        now: The monotonic clock, in seconds.
    """
    run = scene.run
    if run is None:
        return [Part(f"{count:,} {clean(status, 20)}", style_of(status)) for status, count in scene.counts.items()]
    counts = list(totals_parts(totals(run)))
    if waiting := scene.waiting_retries:
        counts.append(Part(f"{waiting:,} waiting for a retry", "yellow", 3))
    if run.status == RUNNING:
        counts.append(Part(per_second(scene.rate), "", 4))
        if run.elapsed_s is not None:
            counts.append(Part(age(run.elapsed_s + scene.since(now)), "", 2))
        if scene.left_s is not None:
            counts.append(Part(f"{age(scene.left_s)} left", "", 6))
        return counts
    left = max((run.expected or 0) - run.ended, 0)
    parts = [ending(run.status, left, how_many(run, (ERROR, TIMED_OUT, CANCELLED)))]
    if run.is_unclosed:
        parts.append(Part("its process is gone", "yellow", 8))
    return [
        *parts,
        *counts,
        *average(run.ended - run.skipped, run.elapsed_s),
        Part("waiting for the next run", "dim"),
    ]
