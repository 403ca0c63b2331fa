"""Shell completion."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .commands import typed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    """The documented line gives them their function."""
    document = (Path(__file__).parent.parent.parent / "docs" / "watching.md").read_text()

    assert f"_PIPELOOM_COMPLETE={shell}_source pipeloom" in document
    code = "import sys; sys.argv = ['pipeloom']; from pipeloom.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"_PIPELOOM_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "_pipeloom_completion" in done.stdout or "Shell completion is not supported" in done.stderr


def test_completion_knows_commands_and_choices():
    """What the function asks for while somebody types."""
    words = typed(_PIPELOOM_COMPLETE="bash_complete", COMP_WORDS="pipeloom tasks --status ", COMP_CWORD="3").stdout

    assert "plain,timed_out" in words
