"""The same without a screen: a plain line now and then, or a line of JSON per change. Never loads Rich."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from pipeloom.cli.watching.snapshot import Snapshot
from pipeloom.cli.watching.source import Source, Want
from pipeloom.cli.watching.words import summary
from pipeloom.data.clock import utc_now
from pipeloom.data.text import clean
from pipeloom.statuses import RUNNING

__all__ = ["watch_json", "watch_lines"]

_LOOK_S: Final = 0.25
_LINE_S: Final = 5.0
_RUNNING: Final = 50
_FAILURES: Final = 3

Say = Callable[[str], bool]
"""Says a line, or nothing when it is empty; returns whether anybody still listens."""


def watch_lines(path: Path, say: Say) -> None:
    """Say a line when a run begins or ends, when the file is in trouble, and every five seconds."""
    before: Any = None
    said_at = 0.0
    with Source(path) as source:
        while say(""):
            snapshot, now = source.look(Want(rows=0)), monotonic()
            run = snapshot.run
            state = (run and (run.run_id, run.status), snapshot.trouble, snapshot.note)
            if state != before or (snapshot.is_running and now - said_at >= _LINE_S):
                before, said_at = state, now
                say(line(snapshot, now))
            sleep(_LOOK_S)


def line(snapshot: Snapshot, now: float) -> str:
    """Return a snapshot in one harmless line."""
    if snapshot.trouble is not None:
        return f"{clean(snapshot.path)}: {clean(snapshot.trouble)}"
    note = f" ({snapshot.note})" if snapshot.note is not None else ""
    words = " · ".join(part for part, _ in summary(snapshot, now)) or "no tasks yet"
    run = snapshot.run
    if run is None:
        return f"{clean(snapshot.path)}: no run yet: {words}{note}"
    of = f"/{run.expected:,}" if run.expected is not None else ""
    title = f"{clean(run.pipeline, 60)}, " if run.pipeline else ""
    return f"{title}run {run.run_id} {clean(run.status, 20)}: {run.ended:,}{of} · {words}{note}"


def watch_json(path: Path, say: Say) -> None:
    """Say a line of JSON whenever something has changed, at most four times a second."""
    before: Any = None
    with Source(path) as source:
        while say(""):
            snapshot = source.look(Want(rows=_RUNNING))
            content = as_json(snapshot)
            if content != before:
                before = content
                say(json.dumps({"at": utc_now(), **content, "rate": round(snapshot.rate, 3)}))
            sleep(_LOOK_S)


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return what is in a snapshot, without what only the clock changes."""
    run = snapshot.run
    return {
        "db": snapshot.path,
        "state": _state(snapshot),
        "trouble": snapshot.trouble,
        "note": snapshot.note,
        "run": _without_clock(run, still_going=run.status == RUNNING) if run is not None else None,
        "counts": dict(snapshot.counts),
        "running": [_without_clock(task, still_going=True) for task in snapshot.running],
        "failures": [_without_clock(task, still_going=False) for task in snapshot.failures[:_FAILURES]],
    }


def _state(snapshot: Snapshot) -> str:
    if snapshot.trouble is not None:
        return "waiting" if snapshot.trouble.endswith("…") else "unreadable"
    if snapshot.run is None:
        return "idle"
    return "running" if snapshot.is_running else "ended"


def _without_clock(row: Any, *, still_going: bool) -> dict[str, Any]:
    content = dataclasses.asdict(row)
    if still_going:  # the time until now; `started_at` says the same
        content["elapsed_s"] = None
    return content
