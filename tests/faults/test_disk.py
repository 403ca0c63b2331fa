"""Disks that are full, fail or are slow: a named error, exit code 3, and the run can be resumed. (P4, P7)"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from time import monotonic

import pytest

from faults import strace
from faults.tools import DONE, INTERRUPTED, STORAGE, environment, mistaken, need, product, sample, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished

COUNT = 40


def one_sentence(err: str) -> str:
    """Return the last word of the command line; a traceback is none."""
    assert "Traceback" not in err, err
    said = [line for line in err.splitlines() if line.startswith("pipeloom: ")]
    assert len(said) == 1, err
    return said[0]


# --- full ---


def test_a_disk_that_becomes_full(start, tmp_path, small_disk):
    """It says so; after space was freed the same program does the rest."""
    db, acks = small_disk("1m") / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=400)
    code, _, err = start(words).wait()
    assert (code, "the disk is full" in one_sentence(err)) == (STORAGE, True)

    small_disk("20m")  # before the look: opening a file for a look recovers its log, which needs room too
    assert VERDICT.at_rest(db, acknowledged(acks)).done
    VERDICT.resumed(db, words, 400)


@pytest.mark.parametrize("there", ["nothing", "a database"])
def test_a_disk_that_is_full_from_the_start(start, small_disk, there):
    """Neither the shared memory nor the log can be written: a clear error, no traceback."""
    place = small_disk("1m")
    db = place / "out.db"
    words = product("load", db=db, count=10)
    if there == "a database":
        assert start(words).wait()[0] == DONE
    with (place / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        while True:
            filler.write(b"x" * 4096)
    code, _, err = start(product("load", db=db, count=20)).wait()
    assert code == STORAGE, err
    assert str(db) in one_sentence(err)

    (place / "filler").unlink()
    small_disk("20m")
    VERDICT.sound(db, set(), product("load", db=db, count=20), 20)


@pytest.mark.parametrize("function", ["load", "pipeline"])
def test_no_space_from_the_nth_write_on(start, tmp_path, function):
    """Wherever it comes, what was acknowledged is there."""
    for n in sample(list(range(1, 300, 7)), 4):
        db, acks = tmp_path / f"{n}.db", tmp_path / f"{n}.acks"
        words = product(function, db=db, acks=acks, count=COUNT)
        code, _, err = start(
            strace.injecting("pwrite64", f"error=ENOSPC:when={n}+", words, paths=strace.files_of(db))
        ).wait()
        assert code == STORAGE, (n, err)
        assert "the disk is full" in one_sentence(err), n
        VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_a_limit_on_the_size_of_files(start, tmp_path):
    """RLIMIT_FSIZE reports an I/O error rather than a full disk."""
    need("prlimit")
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200)
    no_half_modules = environment(PYTHONDONTWRITEBYTECODE=1)
    code, _, err = start(["prlimit", "--fsize=300000", *words], env=no_half_modules).wait()
    assert code == STORAGE, err
    assert "the disk reported an error" in one_sentence(err)
    stored = VERDICT.sound(db, acknowledged(acks), words, 200)
    assert 0 < len(stored.done) < 200


def test_the_harness_catches_errors_that_are_swallowed(start, tmp_path):
    """A program that goes on whatever SQLite says loses what it noted."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = mistaken("errors_swallowed", db=db, acks=acks, count=COUNT)
    code, _, _ = start(
        strace.injecting("pwrite64", "error=ENOSPC:when=60+", words, paths=strace.files_of(db))
    ).wait()
    assert code == DONE  # which is the mistake
    with pytest.raises(UnsoundError, match="acknowledged and lost"):
        VERDICT.at_rest(db, acknowledged(acks))


# --- failing ---


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_an_io_error_at_the_nth_call(start, tmp_path, call):
    """The writer stops and does not try again. Whether that batch is there is unknown; resume is right."""
    most = 30 if call == "fdatasync" else 150
    for n in sample(list(range(1, most, 2)), 4):
        db, acks = tmp_path / f"{n}.db", tmp_path / f"{n}.acks"
        words = product("load", db=db, acks=acks, count=COUNT)
        code, _, err = start(strace.injecting(call, f"error=EIO:when={n}", words, paths=strace.files_of(db))).wait()
        assert code == STORAGE, (n, err)
        assert "the disk reported an error" in one_sentence(err), n
        VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_an_error_when_reading(start, tmp_path):
    """On a database that is there; the second read is the first that matters."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=10)).wait()[0] == DONE
    words = product("load", db=db, count=20)
    for n in (1, 2, 3, 5):
        log = tmp_path / "strace.log"
        child = start(strace.injecting("pread64", f"error=EIO:when={n}", words, paths=[db], log=log))
        code, _, err = child.wait()
        assert strace.injected(log) == 1
        assert code == STORAGE, (n, err)
        one_sentence(err)
    VERDICT.sound(db, {str(task) for task in range(10)}, words, 20)


# --- only the checkpoint ---


def test_a_checkpoint_that_fails_alone(start, tmp_path):
    """The log can be written and the database cannot: commits go on, and a warning says so."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=200)
    paths, log = [db], tmp_path / "strace.log"
    code, _, err = start(strace.injecting("pwrite64", "error=ENOSPC:when=2+", words, paths=paths, log=log)).wait()
    assert strace.injected(log) > 0
    assert code == DONE, err
    assert "checkpoint failed, commits go on" in re.sub(r"\s+", " ", err)
    VERDICT.sound(db, acknowledged(acks), words, 200)


# --- slow ---


def test_a_slow_disk_and_an_interrupt(start, tmp_path):
    """Each sync takes 0.2 s; an interrupt is heard all the same, and what runs is recorded."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=2000, pause_s=0.01)
    child = start(strace.injecting("fdatasync", "delay_enter=200000", words, paths=strace.files_of(db)))
    number = child.begun()
    until(lambda: finished(acks), "it works, slowly", child)
    began = monotonic()
    os.kill(number, signal.SIGINT)
    code, _, err = child.wait()
    assert code == INTERRUPTED, err
    assert monotonic() - began < 5
    stored = VERDICT.at_rest(db, acknowledged(acks))
    assert 0 < len(stored.done) < 2000


def test_a_failed_sync_is_not_papered_over(start, tmp_path):
    """After it nothing is copied from the log to the database: its pages may be gone, only recovery checks them."""
    db, log = tmp_path / "out.db", tmp_path / "strace.log"
    words = product("load", db=db, count=COUNT)
    command = strace.injecting("fdatasync", "error=EIO:when=8", words, paths=strace.files_of(db), log=log)
    command[command.index("trace=fdatasync")] = "trace=fdatasync,pwrite64,unlink,ftruncate"
    assert start(command).wait()[0] == STORAGE
    after = log.read_text().partition("(INJECTED)")[2].splitlines()[1:]
    assert after == []


def test_the_writes_are_those_of_one_thread(start, tmp_path):
    """What ``when=`` counts by; and only SQLite opens the database. (P14)"""
    strace.usable()
    db, log = tmp_path / "out.db", tmp_path / "strace.log"
    words = product("load", db=db, count=COUNT)
    child = start(
        ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=openat,pwrite64,close", "-P", str(db), *words]
    )
    assert child.wait()[0] == DONE
    lines = log.read_text().splitlines()
    assert len({line.split()[0] for line in lines if "pwrite64(" in line}) == 1
    opened = [line for line in lines if "openat(" in line and "ENOENT" not in line]
    assert len([line for line in opened if "O_EXCL" not in line]) == 1, opened
    assert Path(db).stat().st_size
