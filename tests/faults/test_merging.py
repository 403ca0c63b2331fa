"""A merge that is killed, or finds no room: OUT is as it was, or whole, and the next merge does it. (P26)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from merging.conftest import content, state_of, together, work

import pipeloom
from faults import strace
from faults.tools import DONE, INTERRUPTED, KILLED, STORAGE, sample

COUNT = 60
NEW, ADDED = "a new file", "one that is added to"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Three shards of one run."""
    place = tmp_path_factory.mktemp("parts")
    paths = [place / f"{number}.db" for number in (1, 2, 3)]
    for number, path in enumerate(paths, 1):
        pipeloom.map(work, range(COUNT), db=path, shard=(number, 3), durability="off", progress=False)
    return paths


class Merging:
    """Merges into one file, again and again from the same beginning.

    Args:
        place: A directory of its own.
        parts: What is merged.
        into: ``NEW`` or ``ADDED``.
    """

    def __init__(self, place: Path, parts: list[Path], into: str) -> None:
        self.place = place
        self.out = place / "out.db"
        self._begins_with = parts[:1] if into == ADDED else []
        self._rest = [str(path) for path in parts[len(self._begins_with) :]]
        self.before = together(self._begins_with) if self._begins_with else None
        self.after = together(parts)
        # Before it adds to a file, a merge does what it does for a new one.
        self.files = strace.files_of(self.out if into == ADDED else place / "out.db-merging")

    def begin(self) -> list[str]:
        """Put the file as it is before; returns the command."""
        for path in self.place.iterdir():
            path.unlink()
        words = [sys.executable, "-m", "pipeloom", "merge", str(self.out), *self._rest]
        if self._begins_with:
            pipeloom.merge(self.out, self._begins_with)
            words.append("--append")
        return words

    def is_done(self) -> bool:
        """Say whether all is there; it is, or nothing of it."""
        found = content(self.out) if self.out.exists() and self.out.stat().st_size else None
        assert found in (self.before, self.after)
        return found == self.after

    def check_next(self) -> None:
        """The next merge does it, and leaves nothing beside it."""
        if not self.is_done():
            pipeloom.merge(self.out, self._rest, append=bool(self._begins_with))
            assert self.is_done()
        assert not [path for path in self.place.iterdir() if "merging" in path.name and self.before is None]


@pytest.fixture(params=[NEW, ADDED])
def merging(request, tmp_path, parts):
    """A merge into a new file, and one into a file that is there."""
    (tmp_path / "here").mkdir()
    return Merging(tmp_path / "here", parts, request.param)


def test_a_merge_killed_at_its_storage_calls(start, tmp_path, merging, parts):
    """At each write, sync, removal and renaming; the files that are merged stay as they are."""
    before = state_of(parts[0].parent)
    log = tmp_path / "calls"
    assert start(strace.counting(merging.begin(), paths=merging.files, log=log)).wait()[0] == DONE
    counted = strace.counts(log)
    assert counted["pwrite64"] > 20
    assert counted["fdatasync"] + counted.get("fsync", 0) > 1
    points = [(call, n) for call, most in sorted(counted.items()) for n in range(1, most + 1)]
    done = []
    for call, n in sample(points, 5):
        words = merging.begin()
        code, out, err = start(strace.injecting(call, f"signal=KILL:when={n}", words, paths=merging.files)).wait()
        assert code == KILLED, (call, n, out + err)
        done.append(merging.is_done())
        merging.check_next()
    assert state_of(parts[0].parent) == before
    assert not all(done), "all of them were killed too late"


def test_a_merge_that_finds_no_room(start, merging):
    """Code 3, told as that; nothing is left of it, and with more room it is done."""
    for n in (1, 6):
        words = merging.begin()
        code, out, err = start(
            strace.injecting("pwrite64", f"error=ENOSPC:when={n}+", words, paths=merging.files)
        ).wait()
        assert code == STORAGE, out + err
        assert "the disk is full" in err
        assert len(err.splitlines()) == 1
        assert not merging.is_done()
        assert not list(merging.place.glob("out.db-merging*"))
        merging.check_next()


def test_a_merge_that_is_interrupted(start, merging):
    """Code 130 and one line; nothing is left of it, unless it was committing, which is not broken off."""
    for n in (4, 20):
        words = merging.begin()
        code, out, err = start(
            strace.injecting("pwrite64", f"signal=INT:when={n}", words, paths=merging.files)
        ).wait()
        assert (code, out, err.strip()) == (INTERRUPTED, "", "pipeloom: interrupted")
        assert merging.is_done() == (merging.before is not None)
        assert not list(merging.place.glob("out.db-merging*"))
