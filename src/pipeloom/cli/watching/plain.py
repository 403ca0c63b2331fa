"""Watching without a screen: a plain line now and then, or a line of JSON per change. Never imports Rich."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from pipeloom.cli.watching.scene import Scene
from pipeloom.cli.watching.watcher import Want, Watcher
from pipeloom.cli.watching.words import summary
from pipeloom.data.clock import utc_now
from pipeloom.data.text import clean
from pipeloom.show.parts import joined
from pipeloom.statuses import RUNNING

__all__ = ["watch_json", "watch_lines"]

_LOOK_S: Final = 0.25
_LINE_S: Final = 5.0
_RUNNING: Final = 50
_FAILURES: Final = 3

Say = Callable[[str], bool]
"""Prints a line unless it is empty; returns whether the output still has a reader."""


def watch_lines(path: Path, say: Say) -> None:
    """Print a line when a run begins or ends, when the file cannot be read, and every five seconds during a run."""
    before: Any = None
    said_at = 0.0
    with Watcher(path) as watcher:
        while say(""):
            scene, now = watcher.look(Want(rows=0)), monotonic()
            run = scene.run
            state = (run and (run.run_id, run.status), scene.trouble, scene.note)
            if state != before or (scene.is_running and now - said_at >= _LINE_S):
                before, said_at = state, now
                say(line(scene, now))
            sleep(_LOOK_S)


def line(scene: Scene, now: float) -> str:
    """Return the scene as one cleaned line."""
    if scene.trouble is not None:
        stop = " (Ctrl-C stops)" if scene.is_waiting else ""
        return f"{clean(scene.path)}: {clean(scene.trouble)}{stop}"
    note = f" ({scene.note})" if scene.note is not None else ""
    words = joined(summary(scene, now)) or "no tasks yet"
    run = scene.run
    if run is None:
        return f"{clean(scene.path)}: no run yet: {words}{note}"
    of = f"/{run.expected:,}" if run.expected is not None else ""
    title = f"{clean(run.title, 60)}, " if run.title else ""
    state = " running" if scene.is_running else ""
    return f"{title}run {run.run_id}{state}: {run.ended:,}{of} · {words}{note}"


def watch_json(path: Path, say: Say) -> None:
    """Print a line of JSON whenever something has changed, at most four times a second."""
    before: Any = None
    with Watcher(path) as watcher:
        while say(""):
            scene = watcher.look(Want(rows=_RUNNING))
            content = as_json(scene)
            if content != before:
                before = content
                say(json.dumps({"at": utc_now(), **content, "rate": round(scene.rate, 3)}))
            sleep(_LOOK_S)


def as_json(scene: Scene) -> dict[str, Any]:
    """Return the scene for JSON, without values that change with the clock alone."""
    run = scene.run
    return {
        "db": scene.path,
        "state": _state(scene),
        "trouble": scene.trouble,
        "note": scene.note,
        "run": _without_clock(run, still_going=run.status == RUNNING) if run is not None else None,
        "counts": dict(scene.counts),
        "running": [_without_clock(task, still_going=True) for task in scene.running],
        "failures": [_without_clock(task, still_going=False) for task in scene.failures[:_FAILURES]],
    }


def _state(scene: Scene) -> str:
    if scene.trouble is not None:
        return "waiting" if scene.is_waiting else "unreadable"
    if scene.run is None:
        return "idle"
    return "running" if scene.is_running else "ended"


def _without_clock(row: Any, *, still_going: bool) -> dict[str, Any]:
    content = dataclasses.asdict(row)
    if still_going:  # changes with the clock; `started_at` carries the same information
        content["elapsed_s"] = None
    return content
