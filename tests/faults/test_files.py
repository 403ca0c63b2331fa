"""Files that are damaged, foreign, newer, replaced, gone or not ours to write: refused or noticed. (P7, P13)"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from faults import programs
from faults.tools import DONE, KILLED, STORAGE, USAGE, Start, amount, mistaken, need, need_root, product, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished

COUNT = 20
NOTICED_S = 2.0
SLACK_S = 2.0  # for a busy machine, and for the process to end


def one_sentence(err: str) -> str:
    """Return the last word of the command line; a traceback is none."""
    assert "Traceback" not in err, err
    said = [line for line in err.splitlines() if line.startswith("pipeloom: ")]
    assert len(said) == 1, err
    return said[0]


@pytest.fixture
def filled(start, tmp_path):
    """A database with a finished run."""
    db = tmp_path / "out.db"
    assert start(product("load", db=db, count=COUNT)).wait()[0] == DONE
    return db


def refused(start: Start, db: Path, words: str) -> None:
    """A run on it ends with code 3 and these words, and every byte stays as it was."""
    before = db.read_bytes()
    code, _, err = start(product("load", db=db, count=COUNT + 5)).wait()
    assert code == STORAGE, err
    assert words in one_sentence(err)
    assert db.read_bytes() == before
    assert not db.with_name(db.name + "-journal").exists()


# --- what is there already ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"carrier,delay\nUA,3\n" * 100, "is not a SQLite database"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), "is not a SQLite database"),
        (b"SQLite format 3\0" + b"\xff" * 4080, "is not a SQLite database"),
    ],
    ids=["text", "picture", "almost"],
)
def test_what_is_no_database(start, tmp_path, content, words):
    """It is somebody's file: it is refused, and not touched."""
    db = tmp_path / "out.db"
    db.write_bytes(content)
    refused(start, db, words)


def test_a_newer_schema(start, filled):
    """A later version's file is not ours to change."""
    with closing(sqlite3.connect(filled)) as conn, conn:
        conn.execute("UPDATE pipeloom_meta SET value = 1000 WHERE key = 'schema_version'")
    refused(start, filled, "newer")


def test_a_table_that_only_has_our_name(start, tmp_path):
    """``task_runs`` of another program."""
    db = tmp_path / "out.db"
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("CREATE TABLE task_runs (task TEXT, at REAL)")
    refused(start, db, "task_runs")


def test_a_directory(start, tmp_path):
    """It is said in words."""
    code, _, err = start(product("load", db=tmp_path)).wait()
    assert (code, "is a directory" in one_sentence(err)) == (STORAGE, True)


def test_flipped_bits(start, filled, tmp_path):
    """Whatever bits: no crash, no traceback, and nothing that was read as damaged is called done.

    SQLite keeps no checksums, so damage within a value is not seen, by anybody.
    """
    chance = random.Random(5)
    content, refusals = filled.read_bytes(), 0
    for number in range(amount(12, 300)):
        db = tmp_path / f"{number}.db"
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 20, 200))):
            damaged[chance.randrange(len(damaged) if number % 2 else 4096)] ^= 1 << chance.randrange(8)
        db.write_bytes(damaged)
        code, _, err = start(product("load", db=db, count=COUNT + 5)).wait()
        assert code in (DONE, 1, STORAGE), (number, code, err)
        assert "Traceback" not in err, (number, err)
        if code != DONE:
            refusals += 1
            one_sentence(err)
        db.unlink()
    assert refusals


@pytest.mark.parametrize("where", ["a page of the ledger", "every page but the first"])
def test_a_damaged_page(start, filled, where):
    """Damage to the structure is said in words, with code 3, and nothing else is written over it."""
    content = bytearray(filled.read_bytes())
    with closing(sqlite3.connect(filled)) as conn:
        (root,) = conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'task_runs'").fetchone()
    first = (root - 1) * 4096 if where == "a page of the ledger" else 4096
    content[first : first + 4096 if first > 4096 else None] = b"\xa5" * (
        4096 if first > 4096 else len(content) - first
    )
    filled.write_bytes(content)
    code, _, err = start(product("load", db=filled, count=COUNT + 5)).wait()
    assert code == STORAGE, err
    assert "damaged" in one_sentence(err)


# --- under the run ---


@pytest.mark.parametrize("deed", ["renamed", "removed", "replaced"])
def test_the_file_goes_away_under_the_run(start, tmp_path, deed):
    """Inserts into a removed file "succeed": it is noticed within 2 s, and the newcomer is not written to."""
    db, moved = tmp_path / "out.db", tmp_path / "moved.db"
    acks = tmp_path / "acks"
    child = start(product("load", db=db, acks=acks, count=100_000, pause_s=0.01))
    child.begun()
    until(lambda: finished(acks), "something is done", child)
    newcomer = b""
    if deed == "removed":
        db.unlink()
    else:
        os.rename(db, moved)
    if deed == "replaced":
        with closing(sqlite3.connect(tmp_path / "other.db")) as conn, conn:
            conn.execute("CREATE TABLE mine (n)")
        newcomer = (tmp_path / "other.db").read_bytes()
        os.rename(tmp_path / "other.db", db)
    began = monotonic()
    code, _, err = child.wait()
    assert monotonic() - began < NOTICED_S + SLACK_S
    assert code == STORAGE, err
    assert "replaced or removed" in one_sentence(err)
    if deed == "replaced":
        assert db.read_bytes() == newcomer


OVERWRITE = """
import os, sqlite3, sys
conn = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
conn.execute("BEGIN EXCLUSIVE")
with open(sys.argv[1], "r+b") as file:
    file.write(os.urandom(8192))
os.kill(os.getpid(), 9)
"""


def overwrite(db: Path) -> None:
    """Write over a database between two transactions: in the middle of one SQLite's cache would hide it."""
    assert subprocess.run([sys.executable, "-c", OVERWRITE, str(db)], check=False).returncode == KILLED


UNDER_THE_RUN = {
    "the log emptied": ("load", lambda db, log, _: os.truncate(log, 0), "was truncated while in use"),
    "the log cut": ("load", lambda db, log, _: os.truncate(log, 8192), "was truncated while in use"),
    "the log removed": ("load", lambda db, log, _: log.unlink(), "out.db-wal: was replaced or removed"),
    "the index removed": ("load", lambda db, _, index: index.unlink(), "out.db-shm: was replaced or removed"),
    "moved, with a journal": (
        "pipeline",
        lambda db, *_: db.rename(db.with_name("moved.db")),
        "replaced or removed",
    ),
    "removed, with a journal": ("pipeline", lambda db, *_: db.unlink(), "replaced or removed"),
    "emptied, with a journal": ("pipeline", lambda db, *_: os.truncate(db, 0), "was emptied|is damaged"),
    "overwritten, with a journal": ("pipeline", lambda db, *_: overwrite(db), "was overwritten by another program"),
}


@pytest.mark.parametrize("deed", UNDER_THE_RUN)
def test_a_file_of_sqlites_is_damaged_under_the_run(start, tmp_path, deed):
    """Told as what it is within 2 s, with code 3, also where SQLite itself would speak of the disk."""
    function, do, words = UNDER_THE_RUN[deed]
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    child = start(product(function, db=db, acks=acks, count=100_000, pause_s=0.01))
    child.begun()
    until(lambda: len(finished(acks)) > 3, "something is done", child)
    do(db, tmp_path / "out.db-wal", tmp_path / "out.db-shm")
    began = monotonic()
    code, _, err = child.wait()
    assert monotonic() - began < NOTICED_S + SLACK_S
    assert code == STORAGE, err
    assert re.search(words, one_sentence(err))


def test_the_harness_catches_a_program_that_does_not_notice(start, tmp_path):
    """It goes on writing to a file that has no name any more, and ends well; what it noted is nowhere."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    child = start(mistaken("correct", db=db, acks=acks, count=30, pause_s=0.01))
    until(lambda: finished(acks), "something is done", child)
    for name in ("out.db", "out.db-wal", "out.db-shm"):
        (tmp_path / name).unlink()
    assert child.wait()[0] == DONE  # which is the mistake
    with pytest.raises(UnsoundError, match="acknowledged and lost"):
        VERDICT.at_rest(db, acknowledged(acks))


def test_the_directory_goes_away_under_the_run(start, tmp_path):
    """With all that is in it; nothing is made in its place."""
    place, acks = tmp_path / "data", tmp_path / "acks"
    place.mkdir()
    child = start(product("load", db=place / "out.db", acks=acks, count=4000, pause_s=0.005))
    until(lambda: finished(acks), "something is done", child)
    shutil.rmtree(place)
    code, _, err = child.wait()
    assert code == STORAGE, err
    assert "removed while in use" in one_sentence(err)
    assert not place.exists()


# --- permissions ---


def as_nobody(command: list[str]) -> list[str]:
    """Return the command as a user who owns nothing: root ignores modes."""
    need("setpriv")
    need_root()
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]


@pytest.fixture
def open_place(tmp_path):
    """A directory whose parents anybody may pass, with the program and the package to be read there."""
    need_root()
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pipeloom-") as name:
        place = Path(name)
        package = Path(programs.pipeloom.__file__).parent
        shutil.copytree(package, place / "src" / "pipeloom", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(programs.__file__, place / "programs.py")
        place.chmod(0o755)
        yield place


def run_as_nobody(start: Start, place: Path, db: Path) -> tuple[int, str]:
    """Run the program as nobody; returns exit code and errors."""
    command = as_nobody(product("load", program=place / "programs.py", db=db, count=5))
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    probe = subprocess.run(
        as_nobody([sys.executable, "-c", "import rich, click, msgspec"]),
        env=environment,
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip("another user cannot read this Python")
    code, _, err = start(command, cwd=place, env=environment).wait()
    return code, err


@pytest.mark.parametrize("where", ["directory", "search", "file", "read-only log"])
def test_no_permission(start, open_place, where):
    """Each is one sentence that names the file, with code 3; the file stays as it was."""
    data = open_place / "data"
    data.mkdir(mode=0o755)
    db = data / "out.db"
    if where != "directory":
        assert start(product("load", db=db, count=5)).wait()[0] == DONE
        db.chmod(0o644)
        data.chmod(0o777)
        if where == "search":
            data.chmod(0o666)
        if where == "read-only log":
            db.chmod(0o666)
            (data / "out.db-wal").touch(mode=0o444)
            (data / "out.db-shm").touch(mode=0o444)
    before = db.read_bytes() if db.exists() else b""
    code, err = run_as_nobody(start, open_place, db)
    assert code == STORAGE, err
    assert str(db) in one_sentence(err)
    assert (db.read_bytes() if db.exists() else b"") == before


def test_a_directory_that_is_not_there(start, tmp_path):
    """Nothing is made in its place."""
    code, _, err = start(product("load", db=tmp_path / "no" / "out.db")).wait()
    assert (code, "does not exist" in one_sentence(err)) == (STORAGE, True)
    assert not (tmp_path / "no").exists()


def test_an_argument_that_is_none(start, tmp_path):
    """Usage is code 2, and nothing is made."""
    code, _, err = start(product("load", db=tmp_path / "out.db", nonsense=1)).wait()
    assert code == USAGE, err
    assert list(tmp_path.glob("out.db*")) == []
