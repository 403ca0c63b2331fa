"""Where the tests write: in memory while they run, and afterwards nowhere but in the checkout."""

from __future__ import annotations

import os
import stat

import pytest
import surroundings


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A directory that is taken for the machine's memory, and another for the checkout's cache."""
    memory = tmp_path / "memory"
    memory.mkdir()
    (tmp_path / "cache").mkdir()
    monkeypatch.setattr(surroundings, "_MEMORY", memory)
    monkeypatch.setattr(surroundings, "_ROOM", 1)
    monkeypatch.setattr(surroundings, "CACHE", tmp_path / "cache")
    for name in ("PYTEST_XDIST_WORKER", "PIPELOOM_FAULTS"):
        monkeypatch.delenv(name, raising=False)
    return memory


@pytest.mark.parametrize("keep", [True, False])
def test_what_failed_tests_have_left_in_memory_comes_to_the_checkout(memory, tmp_path, keep):
    """Whatever it is; and nothing stays in memory."""
    place = surroundings._in_memory()
    assert place.parent == memory
    assert stat.S_IMODE(place.stat().st_mode) & 0o022 == 0  # nobody else writes there
    (place / "pytest-tmp" / "test_a0").mkdir(parents=True)
    os.mkfifo(place / "pytest-tmp" / "test_a0" / "pipe")
    (tmp_path / "cache" / "pytest-tmp" / "of the last time").mkdir(parents=True)
    surroundings.clear_memory(place, keep=keep)

    assert list(memory.iterdir()) == []
    left = [path.name for path in (tmp_path / "cache").rglob("*")]
    assert left == (["pytest-tmp", "test_a0", "pipe"] if keep else [])


def test_a_place_that_is_not_ours_is_not_used(memory, tmp_path):
    """A link there may lead anywhere, and a file is no place."""
    place = surroundings._in_memory()
    place.rmdir()
    place.symlink_to(tmp_path / "cache")
    assert surroundings._in_memory() is None
    place.unlink()
    place.touch()
    assert surroundings._in_memory() is None


def test_where_there_is_no_room_or_the_disk_is_the_point_it_is_the_checkout(memory, monkeypatch):
    """`make faults` is about disks."""
    monkeypatch.setenv("PIPELOOM_FAULTS", "full")
    assert surroundings._in_memory() is None
    monkeypatch.delenv("PIPELOOM_FAULTS")
    monkeypatch.setattr(surroundings, "_ROOM", 1 << 60)
    assert surroundings._in_memory() is None


def test_one_test_run_at_a_time(tmp_path):
    """A second one would remove the first one's files. The lock ends with its process, or as here with its file."""
    lock = tmp_path / "cache" / "lock"
    assert surroundings.take(lock)
    assert not surroundings.take(lock)
    surroundings._locks.pop().close()
    assert surroundings.take(lock)
    surroundings._locks.pop().close()
