"""A run as screens see it, made up."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import NamedTuple

from pipeloom.statuses import ERROR, RUNNING


class Kind(NamedTuple):
    """What is the same about failures, in the order of the real one."""

    id: str
    status: str
    exception: str | None
    place: str | None
    message: str


def attempt(name, t0=0.0, progress=(0.0, None, None)):
    """Return a running attempt."""
    return SimpleNamespace(name=name, t0=t0, progress=progress, status=RUNNING)


def kind(number, exception, message, *names, place="/home/ann/load.py:14 in parse", status=ERROR):
    """Return so many failures of one kind, with the names of the first task and the last one."""
    found = Kind(f"{abs(hash((exception, message))):08x}"[:8], status, exception, place, message)
    return SimpleNamespace(kind=found, count=number, example=attempt(names[0]), last=attempt(names[-1]))


def watched(counts=(), **others):
    """Return a run with these counts."""
    run = {
        "counts": Counter(dict(counts)),
        "skipped": 0,
        "beside": 0,
        "waiting": [],
        "held_up": lambda: (0, 0.0),
        "is_stopping": lambda: False,
        "end": None,
        "was_left": False,
        "took_s": None,
        "slots": [],
        "kinds": [],
    }
    return SimpleNamespace(**run | others)
