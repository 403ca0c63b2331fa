"""The request to stop, as it lies on the disk."""

from __future__ import annotations

import os
import stat

import pytest

from pipeloom.db.cancel import cancel_path, clear, request_cancel, requested
from pipeloom.errors import StorageError


@pytest.mark.parametrize("stage", ["cancel", "drain"])
def test_what_is_asked_is_read(db, stage):
    """Run and stage come back, and nothing else is left in the directory."""
    request_cancel(db, 17, stage)

    assert requested(db) == (17, stage)
    assert cancel_path(db).read_bytes() == f"17 {stage}\n".encode()
    assert os.listdir(db.parent) == [db.name + "-cancel"]


def test_a_later_request_replaces_the_earlier_one(db):
    """Drain first, then cancel: what the second Ctrl-C does."""
    request_cancel(db, 3, "drain")
    request_cancel(db, 3, "cancel")

    assert requested(db) == (3, "cancel")


def test_clearing_twice_is_fine(db):
    """The run removes it, whether or not somebody else has."""
    request_cancel(db, 3, "cancel")
    clear(db)
    clear(db)

    assert requested(db) is None
    assert os.listdir(db.parent) == []


def test_a_link_to_the_database_means_the_same_run(db):
    """The lock lies beside the real file, and so does this."""
    db.touch()
    link = db.with_name("link.db")
    link.symlink_to(db)

    request_cancel(link, 5, "drain")

    assert requested(db) == requested(link) == (5, "drain")


def test_another_user_may_read_it_whatever_the_umask(db):
    """The run may belong to somebody else than who asks."""
    before = os.umask(0o077)
    try:
        request_cancel(db, 5, "drain")
    finally:
        os.umask(before)

    assert stat.S_IMODE(cancel_path(db).stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"17",
        b"17 cancel",
        b"cancel\n",
        b"17 stop\n",
        b"-1 cancel\n",
        b"17 cancel\n\n",
        b"\x00" * 10,
        b"9" * 9999,
    ],
)
def test_nonsense_is_no_request(db, content):
    """A half line, another word, a large file: nothing is asked, nothing raised."""
    cancel_path(db).write_bytes(content)

    assert requested(db) is None


def test_what_is_no_plain_file_is_no_request(db):
    """A FIFO does not block the run, a link is not followed, a directory is not read."""
    path = cancel_path(db)
    os.mkfifo(path)
    assert requested(db) is None
    path.unlink()

    target = db.with_name("elsewhere")
    target.write_text("17 cancel\n")
    path.symlink_to(target)
    assert requested(db) is None
    clear(db)
    assert target.exists()

    path.mkdir()
    assert requested(db) is None
    clear(db)
    assert path.is_dir()


def test_a_request_that_cannot_be_written_is_one_sentence(db):
    """And leaves no draft behind."""
    cancel_path(db).mkdir()

    with pytest.raises(StorageError, match=r"cannot write out\.db-cancel beside it .*send its process SIGTERM"):
        request_cancel(db, 17, "cancel")
    assert os.listdir(db.parent) == [db.name + "-cancel"]


def test_a_name_that_no_file_can_have_has_no_request():
    """NUL in a name raises ValueError in os: not here."""
    assert requested("x\0y") is None
    clear("x\0y")


def test_an_unknown_stage_is_refused(db):
    """Two stages, as with Ctrl-C."""
    with pytest.raises(ValueError, match="how must be"):
        request_cancel(db, 1, "stop")
