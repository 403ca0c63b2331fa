"""Which development tools are here, and programs that see nothing of this machine's configuration."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

from faults.tools import unable

ROOT = Path(__file__).parents[2]
LIMIT_S = 120


def need_modules(*names: str) -> None:
    """Skip, or fail in CI, unless these development tools are installed."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        unable(f"not installed (make setup does): {', '.join(missing)}")


def call(*command: object, cwd: Path, exit_code: int = 0) -> str:
    """Run a program where nothing is configured; returns its output, or fails with it on another exit code."""
    home = cwd / "home"
    home.mkdir(exist_ok=True)
    kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPYCACHEPREFIX")
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={name: os.environ[name] for name in kept if name in os.environ}
        | {"HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == exit_code, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout
