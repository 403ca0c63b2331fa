"""The benchmarks run and verify what they did; their figures are not judged here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("sqlite3") is None, reason="the sqlite3 program, one of the limits, is not installed"
)
def test_every_workload_runs_and_verifies_at_a_tiny_size(tmp_path):
    """Each variant in a fresh process, once."""
    command = [sys.executable, "bench", "--tiny", "--json", str(tmp_path / "results.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)

    assert done.returncode == 0, done.stderr
    scripts = list((ROOT / "bench").glob("b[0-9]*.py"))
    assert done.stdout.count("ran and verified") == len(scripts) >= 10
