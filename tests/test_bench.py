"""The benchmarks run and verify what they did; their figures are not judged here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.stem for path in (ROOT / "bench").glob("b[0-9]*.py"))


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("sqlite3") is None, reason="the sqlite3 program, one of the limits, is not installed"
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_workload_runs_and_verifies_at_a_tiny_size(tmp_path, script):
    """Each variant once."""
    name = f"B{int(script[1:3])}"
    command = [sys.executable, "bench", "--tiny", "--only", name, "--json", str(tmp_path / "results.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)

    assert done.returncode == 0, done.stderr
    assert f"{name}: " in done.stdout
    assert done.stdout.count("ran and verified") == 1


def test_no_workload_is_lost():
    """They are found by their names."""
    assert len(SCRIPTS) >= 12
