"""What cannot be tried in a process whose coverage is measured, tried in one where nobody traces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeloom.db import second_locks

HERE = Path(__file__).parent


def test_the_second_locks_where_nobody_traces(tmp_path):
    """Before Python 3.12 there is no hook where somebody does."""
    untraced = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        f"--basetemp={tmp_path / 'inner'}",
        HERE / "test_second_locks.py",
    ]
    done = subprocess.run(words, env=untraced, capture_output=True, text=True, timeout=55, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def test_a_hook_is_in_nobodys_way():
    """A debugger, a profile, or what measures coverage: threads would fail to start."""
    before = sys.getprofile()
    try:
        sys.setprofile(lambda *_: None)
        assert second_locks._is_traced() == (sys.version_info < (3, 12))
    finally:
        sys.setprofile(before)
