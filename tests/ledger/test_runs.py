"""A run's row."""

from __future__ import annotations

import pytest

from pipeloom.ledger.runs import command_of


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", "load.py"], "python3 load.py"),
        (["/usr/bin/python3", "load.py", "--token", "s3cret"], "python3 load.py …"),
        (
            ["python", "/opt/bin/pipeloom", "run", "load.py:main", "--arg", "t=s3cret"],
            "pipeloom run load.py:main …",
        ),
        (["python", "-m", "pipeloom", "demo", "--db", "x.db"], "python -m pipeloom demo …"),
        (["python", "-m", "mine.loader", "s3cret"], "python -m mine.loader …"),
        (["python", "-c", "s3cret"], "python -c …"),
        (["python"], "python"),
        (["python", "my file.py"], "python 'my file.py'"),
    ],
)
def test_how_a_run_was_started_is_kept_without_arguments(words, shown):
    """Arguments may hold passwords, and the file may be passed on."""
    assert command_of(words) == shown
