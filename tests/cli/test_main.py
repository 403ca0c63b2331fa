"""How the command line ends, whatever happens while it is ending."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eror"], "No such command 'eror'. Did you mean 'errors'?"),
        (["wach", "--db", "x.db"], "No such command 'wach'. Did you mean 'watch'?"),
        (["examples", "cvs"], "No such command 'cvs'. Did you mean 'csv'?"),
        (["qqq"], "No such command 'qqq'."),
    ],
)
def test_a_command_that_does_not_exist_is_answered_with_the_nearest(ask, words, said):
    """In every group, as for options."""
    code, out, err = ask(*words)

    assert (code, out) == (2, "")
    assert err.endswith(f"Error: {said}\n")
