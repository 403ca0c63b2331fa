"""Forks wait until no writer is inside SQLite."""

from __future__ import annotations

import os
import threading

import pytest

from pipeloom.db import forks
from pipeloom.db.forks import ForkGate

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks"),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),  # beside threads, since Python 3.12
]


def forked(child):
    """Fork; return the child's exit code, which is 0 if its function says yes."""
    pid = os.fork()
    if not pid:
        os._exit(0 if child() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(condition):
    """Wait, without a limit but the test's own."""
    while not condition():
        threading.Event().wait(0.001)


def test_a_fork_waits_for_who_is_inside():
    """And the child finds nobody there."""
    gate, codes = ForkGate(), []
    thread = threading.Thread(target=lambda: codes.append(forked(lambda: gate.close(0))))
    with gate:
        thread.start()
        until(lambda: forks._waiting)
        assert not codes
    thread.join(20)

    assert codes == [0]
    assert not forks._waiting


def test_it_does_not_wait_for_itself_nor_for_ever(monkeypatch):
    """A handler may fork inside the writer; somebody may stay inside for an hour. The child can always enter."""
    monkeypatch.setattr(forks, "_PATIENCE_S", 0.05)
    gate, is_inside, leave = ForkGate(), threading.Event(), threading.Event()

    def stay():
        with gate:
            is_inside.set()
            leave.wait(20)

    with ForkGate() as _:
        assert forked(lambda: True) == 0
    thread = threading.Thread(target=stay)
    thread.start()
    is_inside.wait(20)
    try:
        assert forked(lambda: gate.close(0)) == 0
    finally:
        leave.set()
        thread.join(20)
