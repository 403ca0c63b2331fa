"""``pipeloom watch``, as typed; its screen and its lines have a folder of their own."""

from __future__ import annotations

import pytest

from .commands import typed


@pytest.mark.parametrize("path", [".", ":memory:"])
def test_what_can_never_be_watched_is_refused(path):
    """One sentence and exit code 2."""
    done = typed("watch", "--db", path)

    assert done.returncode == 2
    assert "name a database file" in done.stderr
