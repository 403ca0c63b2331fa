"""``pipeloom status --watch``: the same again every second."""

from __future__ import annotations

import json

import pipeloom
from cli.commands import going_on


def test_another_file_in_its_place_is_shown(db, tmp_path):
    """From the next look on."""
    for path, items in ((db, 2), (tmp_path / "new.db", 3)):
        pipeloom.map(str, range(items), db=path, progress=False)
    with going_on("status", "--watch", "--json", "--db", db) as process:
        assert json.loads(process.stdout.readline())["counts"] == {"done": 2}
        (tmp_path / "new.db").replace(db)
        while (counts := json.loads(process.stdout.readline())["counts"]) == {"done": 2}:
            pass

    assert counts == {"done": 3}


def test_a_file_that_is_removed_ends_it(db):
    """With the exit code for storage."""
    pipeloom.map(str, range(2), db=db, progress=False)
    with going_on("status", "--watch", "--json", "--db", db) as process:
        process.stdout.readline()
        db.unlink()
        _, err = process.communicate(timeout=20)

    assert process.returncode == 3
    assert "no such file" in err
