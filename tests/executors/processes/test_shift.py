"""What a run makes of a worker process that says little: a real pipe and a real page, and a clock of our own."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

import pytest

from pipeloom.executors.processes import shift as module
from pipeloom.executors.processes.orders import Orders
from pipeloom.executors.processes.page import Page, new_file
from pipeloom.executors.processes.pipe import Pipe
from pipeloom.executors.processes.shift import Shift
from pipeloom.executors.processes.words import ChunkEnded
from pipeloom.executors.remote.forms import encode
from pipeloom.executors.remote.outcomes import ended
from pipeloom.ledger import Attempt


class Scene:
    """A shift, and the other end of its pipe and page."""

    def __init__(self) -> None:
        fd = new_file()
        self.theirs, self.page = Page(fd), Page(fd)
        os.close(fd)
        ours, other = socket.socketpair()
        self.pipe, self.sockets = Pipe(other), (ours, other)
        worker = SimpleNamespace(page=self.page, pipe=Pipe(ours), has_ended=lambda: False)
        desk = SimpleNamespace(
            slots=[None],
            is_limited=False,
            closed=False,
            link=None,
            end=lambda *_: None,
            hand_over=lambda _: None,
            give_back=list,
        )
        self.shift = Shift(worker, Orders({}, None), desk, 0)
        self.number = 0

    def perform(self) -> None:
        """Send a task, and have it end."""
        self.number += 1
        self.shift.send([Attempt("x", self.number, "x", "x", "new")])
        self.theirs.begin(self.number, 0.0)
        task = Attempt("x", self.number, "x", "x", "new")
        outcome = ("done", None, None, None, None, "2026-01-01T00:00:00+00:00", 0.0)
        self.theirs.put(self.number % 2, encode(ended(task, self.number, 0, "x", outcome)[0]))
        self.theirs.end(self.number)

    def say_so(self) -> None:
        """Say that the chunk has ended."""
        self.pipe.send(encode(ChunkEnded(self.number, 1, 0.0)))

    def close(self) -> None:
        self.theirs.close()
        self.page.close()
        for end in self.sockets:
            end.close()


@pytest.fixture
def scene(monkeypatch):
    """With a clock that stands still."""
    scene = Scene()
    scene.now = 0.0
    monkeypatch.setattr(module, "monotonic", lambda: scene.now)
    yield scene
    scene.close()


def test_a_worker_that_says_no_more_is_not_waited_for(scene):
    """Its task has ended, and it does not say that its chunk has."""
    scene.perform()
    scene.shift.listen(0)
    scene.shift.listen(0)
    scene.now = 60.0

    with pytest.raises(ValueError, match="it went silent after all its tasks had ended"):
        scene.shift.listen(0)


def test_one_that_was_silent_for_a_moment_now_and_then_is_none_of_those(scene):
    """Between the outcomes of a chunk and its end, in a run that goes on for long."""
    for _ in range(3):
        scene.perform()
        scene.shift.listen(0)
        scene.shift.listen(0)  # the chunk's end is not here yet
        scene.say_so()
        scene.shift.listen(1)
        assert scene.shift.is_free
        scene.now += 60.0
