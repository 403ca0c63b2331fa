"""The log as it lies on the disk, against what SQLite itself thinks of it."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from pipeloom.db import connect
from pipeloom.db.wal_file import INDEX_HEADER, is_whole, log_state


@pytest.fixture(params=[512, 4096, 65536])
def logged(db, request):
    """A connection with a log of some frames; pages of zeros among them, which a file system may store as holes."""
    with closing(connect(db)) as conn:
        conn.execute("PRAGMA journal_mode = DELETE")
        conn.execute(f"PRAGMA page_size = {request.param}")
        conn.execute("VACUUM")
        conn.execute("PRAGMA journal_mode = WAL")
        conn.execute("CREATE TABLE t (n)")
        for _ in range(20):
            conn.execute("INSERT INTO t VALUES (zeroblob(20000))")
        yield conn


def state_of(db):
    """Read the index; here nobody's locks matter."""
    return log_state((db.with_name(db.name + "-shm")).read_bytes()[:INDEX_HEADER])


def frames(conn):
    """Return how many SQLite counts, which moves them as well."""
    return conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]


def test_the_index_says_how_many_frames_of_what_size(db, logged):
    """As SQLite itself does."""
    state = state_of(db)

    assert state.page_bytes == logged.execute("PRAGMA page_size").fetchone()[0]
    assert state.length == (db.with_name(db.name + "-wal")).stat().st_size
    assert state.frames == frames(logged)


def test_a_whole_log_is_whole(db, logged):
    """Also after it has begun again, with what was there before behind its end."""
    log = db.with_name(db.name + "-wal")
    assert is_whole(log, state_of(db))
    frames(logged)
    logged.execute("INSERT INTO t VALUES (1)")
    assert state_of(db).length < log.stat().st_size
    assert is_whole(log, state_of(db))
    logged.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert state_of(db).frames == 0
    assert is_whole(log, state_of(db))


def punch(log, start, length):
    """Make a hole where there are zeros already, as a file system that compresses does."""
    with log.open("r+b") as file:
        file.seek(start)
        content = file.read(length)
        assert content == bytes(length)
    size = log.stat().st_size
    copy = log.read_bytes()
    with log.open("r+b") as file:  # the same file, since SQLite has it open
        file.truncate(start)
        file.seek(start + length)
        file.write(copy[start + length :])
    assert log.stat().st_size == size


@pytest.mark.parametrize("logged", [65536], indirect=True)
def test_a_page_of_zeros_may_be_a_hole(db, logged):
    """Its checksum says that it was written."""
    log, state = db.with_name(db.name + "-wal"), state_of(db)
    content = log.read_bytes()
    start = next(at for at in range(0, len(content), 4096) if content[at : at + 4096] == bytes(4096))
    punch(log, start, 4096)
    descriptor = os.open(log, os.O_RDONLY)
    try:
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == start
    finally:
        os.close(descriptor)

    assert is_whole(log, state)
    assert logged.execute("SELECT COUNT(*) FROM t").fetchone() == (20,)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_log_that_was_cut_and_has_grown_again_is_not(db, logged, share):
    """Wherever it was cut; short, and long again."""
    log = db.with_name(db.name + "-wal")
    whole = log.stat().st_size
    cut = int(whole * share) // 4096 * 4096
    os.truncate(log, cut)
    assert not is_whole(log, state_of(db))
    for _ in range(30):
        logged.execute("INSERT INTO t VALUES (zeroblob(20000))")
    assert log.stat().st_size > whole
    assert not is_whole(log, state_of(db))


def test_frames_of_an_earlier_log_behind_the_end_do_not_count(db, logged):
    """A hole there takes nothing from anybody."""
    log = db.with_name(db.name + "-wal")
    frames(logged)
    logged.execute("INSERT INTO t VALUES (1)")
    end, size = state_of(db).length, log.stat().st_size
    os.truncate(log, end)
    os.truncate(log, size)

    assert is_whole(log, state_of(db))


def test_a_log_that_is_not_there_is_told_by_its_identity(tmp_path):
    """Not here."""
    assert is_whole(tmp_path / "none", log_state(bytes(INDEX_HEADER)))
