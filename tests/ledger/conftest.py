"""How to bring several tasks into one transaction, so that one of them can try to spoil it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import pipeloom

LONG_S = 10.0


@pytest.fixture(params=["tuples", "images", "files"])
def each_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways of a task's rows to the writer: all rows take one, whatever they are."""
    monkeypatch.setattr("pipeloom.worker.staging._ENOUGH", float("inf") if request.param == "tuples" else 1)
    if request.param == "files":
        monkeypatch.setattr("pipeloom.worker.staging._HELD", 1)
    return str(request.param)


class Hold:
    """Keeps the writer busy, so that what comes meanwhile waits together."""


def _poll(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + LONG_S
    while not condition():
        assert monotonic() < deadline, "it never came to that"
        threading.Event().wait(0.0005)


@pytest.fixture
def one_batch() -> Callable[..., pipeloom.RunReport]:
    """Run tasks, name → ``fn(ctx)``, so that all of their ends reach the writer in one batch, in their order.

    The writer is held by a handler until the last of them waits in the channel.
    """

    def run(db: Path, tasks: Mapping[str, Callable[[Any], Any]], **options: Any) -> pipeloom.RunReport:
        names = [*tasks, "the gate"]
        all_run, held, go = threading.Barrier(len(names)), threading.Event(), threading.Event()
        # Place in the order → how much must wait in the channel before that task begins.
        before = {0: 0}

        def hold(_conn: Any, _messages: list[Hold]) -> None:
            held.set()
            assert go.wait(LONG_S)

        def task(name: str, ctx: Any) -> Any:
            place = names.index(name)
            all_run.wait(LONG_S)
            if place == 0:
                ctx.put(Hold())
            assert held.wait(LONG_S)
            _poll(lambda: place in before and ctx.qsize() >= before[place])
            try:
                return tasks[name](ctx) if name in tasks else go.set()
            finally:
                before[place + 1] = ctx.qsize() + 1

        handlers = {Hold: hold, **options.pop("handlers", {})}
        options = {"on_error": "collect", "durability": "off", "progress": False, **options}
        return pipeloom.map(task, names, db=db, workers=len(names), handlers=handlers, **options)

    return run
