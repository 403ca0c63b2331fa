"""Receives what workers report about running tasks: one subscription per client, for all its runs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from pipeloom.executors.dask_.worker import TOPIC
from pipeloom.executors.remote.engine import Note

__all__ = ["subscribe", "unsubscribe"]

Seen = Callable[[Note], None]

_guard = threading.Lock()
_runs: weakref.WeakKeyDictionary[Any, dict[str, Seen]] = weakref.WeakKeyDictionary()


def subscribe(client: Any, token: bytes, seen: Seen) -> None:
    """Pass reports about a run's tasks to a function.

    Args:
        client: The Dask client.
        token: The token of the run.
        seen: Called with each report, in the client's thread.
    """
    with _guard:
        runs = _runs.setdefault(client, {})
        runs[token.hex()] = seen
    client.subscribe_topic(TOPIC, lambda event: _heard(runs, event))


def unsubscribe(client: Any, token: bytes) -> None:
    """Stop passing reports to a run."""
    with _guard:
        runs = _runs.get(client, {})
        runs.pop(token.hex(), None)
        is_last = not runs
    if is_last and client.status not in ("closing", "closed"):
        client.unsubscribe_topic(TOPIC)


def _heard(runs: dict[str, Seen], event: tuple[float, Any]) -> None:
    token, number, place, since_s, progress, first, lines, slow_down_s = event[1]
    if (seen := runs.get(token)) is not None:
        step, total, message = progress
        seen(
            Note(
                number,
                place,
                since_s,
                (step, total, message),
                first,
                [(tuple(line), heard) for line, heard in lines],
                slow_down_s,
            )
        )
