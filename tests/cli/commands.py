"""Commands, as they are typed, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

AT = "2026-01-31T12:00:00.000+00:00"
LISTS = ["status", "runs", "tasks", "errors"]
EVERY = [*((command,) for command in LISTS), ("show", "1"), ("logs", "1")]


def typed(*words, **environment):
    """Type a command; returns its completed process."""
    return subprocess.run(
        [sys.executable, "-m", "pipeloom", *map(str, words)],
        capture_output=True, text=True, timeout=30, check=False, env=os.environ | environment,
    )  # fmt: skip


@contextmanager
def going_on(*words):
    """Have a command go on meanwhile; yields its process, and ends it."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeloom", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def document(outcome):
    """Return the one JSON document of a command that went well."""
    code, out, _ = outcome
    assert code == 0
    return json.loads(out)
