"""Checks without opening the database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from pipeloom.doctor import examine
from pipeloom.doctor.place import in_bytes, reader_locks, sqlite_finding

from .conftest import by_check, fill

READER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN")
conn.execute("SELECT COUNT(*) FROM t").fetchone()
print("reading", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who reads")
def test_who_pins_the_log_is_named(db):
    """Another process that has an open read transaction."""
    fill(db)
    with closing(sqlite3.connect(db)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("INSERT INTO t VALUES (1, '')")
        writer.commit()
        with subprocess.Popen(
            [sys.executable, "-c", READER, db], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout.readline() == "reading\n"
            finding = by_check(examine(db))["readers"]
            child.stdin.close()
            child.wait()
        after = by_check(examine(db))["readers"]

    assert finding.verdict == "note"
    assert f"process {child.pid} (" in finding.text
    assert after.verdict == "ok"


LOCKS = """1: POSIX  ADVISORY  READ 101 fe:00:77 124 124
2: FLOCK  ADVISORY  WRITE 102 fe:00:77 0 EOF
2: -> POSIX  ADVISORY  WRITE 103 fe:00:77 124 124
3: POSIX  ADVISORY  READ 104 fe:00:77 128 128
4: POSIX  ADVISORY  WRITE 105 00:1b:77 120 120
5: OFDLCK ADVISORY  READ -1 fe:00:78 123 127
nonsense
"""


def test_locks_are_read_from_what_linux_lists():
    """By device and number; by number alone where the devices differ and only one is listed."""
    assert reader_locks(LOCKS, 77, (0xFE, 0)) == {(101, 124), (104, 128)}
    assert reader_locks(LOCKS, 77, (0, 0x1B)) == {(105, 120)}
    assert reader_locks(LOCKS, 77, (9, 9)) == set()
    assert reader_locks(LOCKS, 78, (9, 9)) == {(-1, byte) for byte in range(123, 128)}


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ((3, 6, 23), "ok"),
        ((3, 7, 0), "note"),
        ((3, 40, 1), "note"),
        ((3, 44, 6), "ok"),
        ((3, 50, 7), "ok"),
        ((3, 51, 2), "note"),
        ((3, 51, 3), "ok"),
    ],
)
def test_versions_with_the_fault_of_the_log(version, verdict):
    """As SQLite's own page lists them."""
    assert sqlite_finding(version).verdict == verdict


def test_sizes_are_said_as_people_do():
    """In powers of 1,024."""
    assert [in_bytes(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40)] == [
        "0 bytes",
        "1,023 bytes",
        "1.0 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]
