"""The guard that watches every test: a guard that sees nothing would guard nothing."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import leaks
import pytest
from leaks import Leaks


@pytest.fixture
def impatient(monkeypatch):
    """A guard that does not wait."""
    monkeypatch.setattr(leaks, "_PATIENCE_S", 0.0)


@contextmanager
def a_thread():
    """Leave a thread running."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="left", daemon=True)
    thread.start()
    yield
    end.set()
    thread.join()


@contextmanager
def a_connection():
    """Leave a connection open, in whatever class."""
    with closing(sqlite3.connect(":memory:", factory=type("Mine", (sqlite3.Connection,), {}))):
        yield


@contextmanager
def a_connection_that_nobody_holds():
    """Drop a connection without closing it."""
    sqlite3.connect(":memory:")
    yield
    gc.collect()  # Python 3.13 closes it, and says so, when it comes upon it: here, not in the next test


@contextmanager
def a_descriptor():
    """Leave a file open."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield
    os.close(descriptor)


@contextmanager
def a_process():
    """Leave a process running."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        try:
            yield
        finally:
            process.kill()


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists them")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("leaving", "named"),
    [
        (a_thread, "the thread left"),
        (a_connection, "an open connection"),
        pytest.param(
            a_connection_that_nobody_holds,
            "an open connection",
            marks=pytest.mark.filterwarnings(
                "ignore:unclosed database:ResourceWarning"
            ),  # Python 3.13 says it, too
        ),
        pytest.param(a_descriptor, "/dev/null", marks=LINUX),
        pytest.param(a_process, "the process ", marks=LINUX),
    ],
)
def test_what_is_left_behind_is_named(leaving, named):
    """And nothing else is."""
    before = Leaks()
    with leaving():
        (found,) = before.found()

    assert named in found


def test_what_is_given_back_is_not_named():
    """Nor what a thread gives back a moment later."""
    before = Leaks()
    reading, writing = os.pipe()
    late = threading.Timer(0.05, os.close, [writing])
    late.start()
    with closing(sqlite3.connect(":memory:")):
        os.close(reading)

    assert before.found() == []
