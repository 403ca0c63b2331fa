"""What is around a run: outputs that close, descriptors that run out, terminals, hostile files. (P9, P16, P17)"""

from __future__ import annotations

import fcntl
import os
import pickle
import sqlite3
import struct
import subprocess
import sys
import termios
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from faults.hostile import HOSTILE as NAMES
from faults.tools import DONE, FAILED, HOSTILE, environment, need, product, sample
from faults.verdict import VERDICT

# What must never reach a terminal as it is. Sequences of our own: cursor, colours, title-free.
FORBIDDEN = (
    b"\x1b[2Jx", b"\x1b]0;", b"\x1b]52", b"\x1b]8;;https", b"\xc2\x9b", b"\xe2\x80\xae", b"\xe2\x80\x8b",
    b"\xe2\x80\xa8", b"\x00",
)  # fmt: skip


# --- outputs and descriptors ---


@pytest.mark.outputs
@pytest.mark.parametrize("how", ["head", "closed stdout", "closed stderr", "all closed", "full"])
def test_an_output_that_is_gone(start, tmp_path, how):
    """A screen that nobody reads never fails a run."""
    db = tmp_path / "out.db"
    words = product("load", db=db, count=24)
    tail = {
        "head": '"$@" 2>&1 | head -c 1 >/dev/null; exit ${PIPESTATUS[0]}',
        "closed stdout": 'exec "$@" >&-',
        "closed stderr": 'exec "$@" 2>&-',
        "all closed": 'exec "$@" <&- >&- 2>&-',
        "full": 'exec "$@" >/dev/full',
    }[how]
    need("bash")
    code, out, err = start(["bash", "-c", tail, "bash", *words]).wait()
    assert code == DONE, out + err
    assert VERDICT.at_rest(db).done == set(range(24))


def test_few_descriptors(start, tmp_path):
    """SQLite needs three or four; a run completes with 12 in all."""
    need("prlimit")
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=24)
    code, out, err = start(["prlimit", "--nofile=12", *words]).wait()
    assert code == DONE, out + err
    VERDICT.sound(db, set(), words, 24)


@pytest.mark.parametrize("number", [4, 5, 6, 7, 8])
def test_too_few_descriptors(start, tmp_path, number):
    """Too few for anything: it completes, or it is an error in words; the file is sound."""
    need("prlimit")
    db = tmp_path / "out.db"
    words = product("load", db=db, count=24)
    code, out, err = start(["prlimit", f"--nofile={number}", *words]).wait()
    assert code in (DONE, 1, 3), out + err
    VERDICT.sound(db, set(), words, 24)


NO_DESCRIPTORS = """
import os, resource, sys, pipeloom
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
def fn(item, ctx):
    if item >= 5:  # each time: the writer may have had a journal open, whose descriptor is free now
        ctx.query("SELECT 1")
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    ctx.write("t", {"n": item})
    ctx.checkpoint(item)
try:
    wal = sys.argv[2] == "wal"
    pipeloom.run_pipeline(range(20), sys.argv[1], worker_fn=fn, key=int, workers=1, wal=wal, progress=False)
finally:
    for descriptor in taken:
        os.close(descriptor)
"""


def test_descriptors_that_run_out_in_the_middle(start, tmp_path):
    """With a log all files are open by then; a rollback journal is made for each commit, and cannot be."""
    assert start([sys.executable, "-c", NO_DESCRIPTORS, str(tmp_path / "wal.db"), "wal"]).wait()[0] == DONE
    db = tmp_path / "journal.db"
    code, _, err = start([sys.executable, "-c", NO_DESCRIPTORS, str(db), "journal"]).wait()
    assert code == 1
    assert err.splitlines()[-1].startswith(
        f"pipeloom.errors.StorageError: {db}: this process may open no more files"
    )
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert 0 < conn.execute("SELECT COUNT(*) FROM t").fetchone()[0] < 20


# --- the terminal ---


def on_a_terminal(command: list[str], limit_s: float = 30) -> tuple[int, bytes]:
    """Run a command on a pseudo-terminal; returns its exit code and every byte that it sent there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    deadline, sent = monotonic() + limit_s, bytearray()
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM="xterm-256color"),
        start_new_session=True,
    ) as process:
        os.close(theirs)
        try:
            while monotonic() < deadline:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
                sent += piece
            process.wait(max(0.1, deadline - monotonic()))
        finally:
            if process.poll() is None:
                process.kill()
            os.close(ours)
    return process.returncode, bytes(sent)


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """A run on a terminal whose tasks have hostile names, messages, errors: its file, and what was sent."""
    db = tmp_path_factory.mktemp("hostile") / "out.db"
    code, sent = on_a_terminal(product("hostile_names", program=HOSTILE, db=db))
    assert code == FAILED, sent.decode(errors="replace")
    return db, sent


def drives(sent: bytes) -> list[bytes]:
    """Return the forbidden sequences that are in what was sent."""
    return [sequence for sequence in FORBIDDEN if sequence in sent]


def test_a_run_shows_hostile_names_harmlessly(hostile_run):
    """Live, while they run, and at the end."""
    _, sent = hostile_run
    assert drives(sent) == []
    assert b"[red]x[/red]" in sent


@pytest.mark.parametrize(
    "words",
    [["status"], ["tasks"], ["runs"], ["errors"], ["status", "-f", "json"], ["tasks", "--json"]],
    ids=" ".join,
)
def test_every_list_shows_hostile_names_harmlessly(hostile_run, words):
    """On a terminal, of a file that holds them all."""
    db, _ = hostile_run
    command, *options = words
    code, sent = on_a_terminal([sys.executable, "-m", "pipeloom", command, "--db", str(db), *options])
    assert code == DONE, sent.decode(errors="replace")
    assert drives(sent) == []


def test_the_harness_catches_names_that_drive_the_terminal():
    """A program that prints them as they are."""
    printing = f"import sys; [print(n.encode('utf-8', 'replace').decode()) for n in {NAMES!r}]"
    _, sent = on_a_terminal([sys.executable, "-c", printing])
    assert len(drives(sent)) >= 6


# --- files that do harm to those who look ---


def pipeloom(start, *words: object) -> tuple[int, str, str]:
    """Type ``pipeloom …``."""
    return start([sys.executable, "-m", "pipeloom", *map(str, words)]).wait(30)


def test_an_endless_view_does_not_hold_the_readers(start, tmp_path):
    """``task_runs`` as a view that never ends: they give up and say so."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=3)).wait()[0] == DONE
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("ALTER TABLE task_runs RENAME TO theirs")
        columns = ", ".join(f"'x' AS {name}" for _, name, *_ in conn.execute("PRAGMA table_info(theirs)"))
        conn.execute(
            "CREATE VIEW task_runs AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            f"SELECT {columns} FROM n WHERE i < 0"
        )
    began = monotonic()
    for command in sample(["status", "tasks", "errors"], 1):
        code, _, err = pipeloom(start, command, "--db", db)
        assert code != DONE, command
        assert "Traceback" not in err, err
        assert err.startswith("pipeloom: "), err
    assert monotonic() - began < 40


class Bomb:
    """What a pickle can do."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_nothing_is_ever_unpickled(start, tmp_path):
    """A pickle in each column that a reader shows, or a run reads."""
    db, marker = tmp_path / "out.db", tmp_path / "exploded"
    words = product("load", db=db, count=3)
    assert start(words).wait()[0] == DONE
    bomb = pickle.dumps(Bomb(marker))
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("UPDATE task_runs SET result = ?, message = ?, error = ?, name = ?", (bomb, bomb, bomb, bomb))
        conn.execute("UPDATE task_runs SET status = 'error' WHERE key = 1")
    for command in ("status", "tasks", "errors", "runs"):
        _, _, err = pipeloom(start, command, "--db", db)
        assert "Traceback" not in err, err
    start(words).wait()
    assert not marker.exists()
    pickle.loads(bomb)
    assert marker.exists()  # it would have


def test_readers_never_write(start, tmp_path):
    """Not a byte of a finished file changes under them."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=5)).wait()[0] == DONE
    before = db.read_bytes()
    for words in (["status"], ["tasks"], ["runs"], ["errors"], ["doctor"]):
        _, _, err = pipeloom(start, words[0], "--db", db, *words[1:])
        assert "Traceback" not in err, err
    assert db.read_bytes() == before
