"""How the command line ends, whatever happens while it is ending."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from pipeloom import cli

def interrupted(*_, **__):
    raise KeyboardInterrupt

cli.cli.main = interrupted
cli._complain = interrupted             # while the first one is being reported
cli.main()
"""


def test_an_interrupt_while_another_one_is_dealt_with_ends_it_at_once():
    """With the exit code of an interrupt, and without a traceback."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
