"""A folder of CSV files becomes one SQLite file: a table per file name, or one table for all.

Each file is one task: its rows commit together with its "done". A second call loads what is new. A file whose size
or time of change differs from last time is loaded again, and its former rows go in the same commit; rows of files
that are gone stay. Which file a row came from stands in its column ``_file``, and ``csv_files`` lists the files.

Columns are text unless a type is declared, so that ``007`` stays what it is. An empty field is NULL.
"""

from __future__ import annotations

import codecs
import csv
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import pipeloom
from pipeloom import TaskContext, connect_readonly

__all__ = ["main"]

_TYPES: Final[Mapping[str, type]] = {"int": int, "float": float, "text": str}
_DELIMITERS: Final = ",;\t|"
_CHUNK: Final = 5000  # rows
_LONGEST_FIELD: Final = 16 << 20  # characters; Python's own limit is 131,072
_FILES: Final = {"path": str, "loaded_into": str, "version": int, "size": int, "modified_ns": int, "rows": int}


def main(
    folder: Path | None = None,
    db: Path = Path("csv.db"),
    *,
    files: Path = Path("csv-files"),
    table: str | None = None,
    types: str | Mapping[str, str] = "",
    delimiter: str | None = None,
    encoding: str = "utf-8-sig",
    again: bool = False,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Load all ``*.csv`` and ``*.tsv`` below a folder.

    Args:
        folder: Where they are. None: three small files to try it with, written to ``files``.
        db: The database.
        files: Used only without ``folder``.
        table: One table for all of them. Default: each file's rows go to the table of its name.
        types: Column → ``int``, ``float`` or ``text``, or the same as ``"column=int,other=float"``.
        delimiter: One character. Default: whichever of comma, semicolon, tab and bar splits the header.
        encoding: Of the files; the default takes UTF-8 with and without a byte order mark.
        again: Load all files again, also those that have not changed; no row comes twice.
        workers: Number of threads.

    Raises:
        ValueError: There is nothing to load, or an argument is wrong; nothing has been written.
        TasksFailedError: Some files could not be loaded; each says why.
    """
    if folder is None:
        from pipeloom.examples.practice import write_files

        folder = write_files(files)[0].parent
    if table is not None and not _is_free(table):
        raise ValueError(f"{table!r} cannot be the name of a table for rows: choose another")
    load = Load(table, _checked_types(types), _checked_delimiter(delimiter), _checked_encoding(encoding))
    sources = with_versions(find(folder), load, db)
    csv.field_size_limit(_LONGEST_FIELD)
    return pipeloom.map(
        load,
        sources,
        db=db,
        name="csv" if table is None else f"csv into {table}",
        key=str,
        workers=workers,
        resume=not again,
        tables=tables_for(load, sources, db),
    )


@dataclass(frozen=True)
class Source:
    """A file as it was found.

    Attributes:
        path: Where it is.
        name: Relative to the folder; storable whatever its bytes are.
        size: Bytes.
        modified_ns: Nanoseconds since 1970.
        regular: Whether it is no pipe, or the like.
        version: 1, and one more each time it has changed.
    """

    path: Path
    name: str
    size: int = 0
    modified_ns: int = 0
    regular: bool = False
    version: int = 1

    def __str__(self) -> str:
        return self.name if self.version == 1 else f"{self.name}, version {self.version}"


def find(folder: Path) -> list[Source]:
    """Return the CSV files below a folder, hidden ones left out, in the order of their names."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}: name a folder of CSV files"
        )
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".csv", ".tsv") or path.name.startswith(".") or path.is_dir():
            continue
        name = path.relative_to(folder).as_posix().encode("utf-8", "surrogateescape")
        found.append(_described(path, name.decode("utf-8", "backslashreplace")))
    if not found:
        raise ValueError(f"{folder}: holds no file that ends in .csv or .tsv")
    return found


def _described(path: Path, name: str) -> Source:
    try:
        seen = path.stat()
    except OSError:
        return Source(path, name)  # opening it will say why
    return Source(path, name, seen.st_size, seen.st_mtime_ns, stat.S_ISREG(seen.st_mode))


class Load:
    """How each file is loaded; what a worker calls."""

    def __init__(self, table: str | None, types: Mapping[str, type], delimiter: str | None, encoding: str) -> None:
        self.table = table
        self.types = types
        self.delimiter = delimiter
        self.encoding = encoding

    def __call__(self, source: Source, ctx: TaskContext) -> dict[str, Any]:
        """Load one file: its former rows go, its new ones come, in one commit."""
        table = self.table_of(source)
        count = 0
        ctx.progress(0, source.size)
        with self._opened(source) as file:
            header, rows = self._read(source, file)
            if ctx.query("SELECT 1 FROM csv_files WHERE path = ? AND loaded_into = ?", (source.name, table)):
                ctx.execute(f"DELETE FROM {_quoted(table)} WHERE _file = ?", (source.name,))
            while chunk := list(islice(rows, _CHUNK)):
                ctx.write(table, chunk, columns=[*header, "_file"], null=("",))
                count += len(chunk)
                ctx.progress(file.buffer.tell(), source.size)
                ctx.check()
        values = (source.name, table, source.version, source.size, source.modified_ns, count)
        ctx.write(
            "csv_files", [values], columns=list(_FILES), on_conflict="update", conflict_on=("path", "loaded_into")
        )
        return {"table": table, "rows": count}

    def name_for(self, source: Source) -> str:
        """Return what the table for a file's rows would be called."""
        return self.table or Path(source.name).stem

    def table_of(self, source: Source) -> str:
        """Return the table for a file's rows, checked."""
        name = self.name_for(source)
        if not _is_free(name):
            raise ValueError(
                f"{source.name}: {name!r} cannot be the name of its table: rename it, or use one table"
            )
        return name

    def header_of(self, source: Source) -> list[str]:
        """Return a file's column names; none when it is empty."""
        with self._opened(source) as file:
            return self._read(source, file)[0]

    def _opened(self, source: Source) -> Any:
        if source.path.exists() and not source.regular:
            raise ValueError(f"{source.name}: is no regular file")
        return source.path.open(encoding=self.encoding, newline="")

    def _read(self, source: Source, file: TextIO) -> tuple[list[str], Iterator[list[Any]]]:
        """Return the header, and the rows as they are read, each with its file at the end."""
        try:
            first = next((line for line in file if line.strip()), "")
            delimiter = self.delimiter or _delimiter_of(first, source)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = next((row for row in reader if row), [])
        except (UnicodeError, csv.Error) as error:
            raise self._unreadable(source, error, 1) from error
        self._check_header(source, header, reader.line_num)
        kinds = [
            (place, self.types[name]) for place, name in enumerate(header) if self.types.get(name, str) is not str
        ]
        return header, self._rows(source, reader, header, kinds)

    def _rows(
        self, source: Source, reader: Any, header: Sequence[str], kinds: Sequence[tuple[int, Callable[[str], Any]]]
    ) -> Iterator[list[Any]]:
        width = len(header)
        try:
            for row in reader:
                if len(row) != width:
                    if not row:
                        continue  # an empty line
                    raise ValueError(
                        f"{source.name}, line {reader.line_num}: {len(row)} values for {width} columns"
                    )
                for place, kind in kinds:
                    if row[place]:
                        row[place] = _number(row[place], kind, source, reader.line_num, header[place])
                row.append(source.name)
                yield row
        except (UnicodeError, csv.Error) as error:
            raise self._unreadable(source, error, reader.line_num) from error

    def _check_header(self, source: Source, header: Sequence[str], line: int) -> None:
        where = f"{source.name}, line {line}: "
        seen: set[str] = set()
        for place, name in enumerate(header, 1):
            if not name.strip():
                raise ValueError(f"{where}column {place} has no name")
            if not _fits(name):
                raise ValueError(f"{where}{name[:60]!r} cannot be a column: 1 to 200 printable characters")
            if name.lower() in seen:
                raise ValueError(f"{where}two columns are named {name!r} (SQL ignores case)")
            if name.lower() == "_file":
                raise ValueError(f"{where}the column _file is this program's own: rename it")
            seen.add(name.lower())
        if len(header) > 1999:
            raise ValueError(f"{where}{len(header):,} columns: SQLite takes 2,000")

    def _unreadable(self, source: Source, error: Exception, line: int) -> ValueError:
        if isinstance(error, csv.Error):
            return ValueError(f"{source.name}, line {line}: {error}")
        if "\n\n".encode(self.encoding).endswith(b"\n\n"):
            with source.path.open("rb") as raw:  # the decoder reads ahead of the rows, so look for the line itself
                for number, content in enumerate(raw, 1):
                    try:
                        content.decode(self.encoding)
                    except UnicodeDecodeError as wrong:
                        why = f"line {number}: not {self.encoding} ({wrong.reason})"
                        return ValueError(f"{source.name}, {why}: {_ADVICE}")
        return ValueError(f"{source.name}: not {self.encoding}: {_ADVICE}")


_ADVICE: Final = "give its encoding, such as latin-1"


def tables_for(load: Load, sources: Sequence[Source], db: Path) -> dict[str, dict[str, type]]:
    """Return the tables to be made, with the columns of all their files; so it matters not which one is first.

    Files that cannot be read are left to their tasks, and tables that exist stay as they are.
    """
    spelled: dict[str, str] = {}  # SQL ignores case: the first spelling of a table counts, and so for columns
    columns: dict[str, dict[str, str]] = {}
    unknown = set(load.types)
    for table, header in _headers(load, sources):
        unknown -= set(header)
        spelled.setdefault(table.lower(), table)
        known = columns.setdefault(table.lower(), {})
        for name in header:
            known.setdefault(name.lower(), name)
    if unknown and columns:
        raise ValueError(f"a type is given for {min(unknown)!r}, but no file has a column of that name")
    existing = _existing_tables(db)
    tables = {
        spelled[table]: {**{name: load.types.get(name, str) for name in known.values()}, "_file": str}
        for table, known in columns.items()
        if table not in existing
    }
    return tables if "csv_files" in existing else {**tables, "csv_files": dict(_FILES)}


def _headers(load: Load, sources: Sequence[Source]) -> Iterator[tuple[str, list[str]]]:
    """Yield table and column names of each file that can be read and has any."""
    for source in sources:
        try:
            table, header = load.table_of(source), load.header_of(source)
        except (OSError, ValueError):
            continue
        if header:
            yield table, header


def with_versions(sources: Sequence[Source], load: Load, db: Path) -> list[Source]:
    """Number each file's version by what was loaded last: a changed file is another task, and so runs."""
    loaded: dict[tuple[str, str], tuple[int, int, int]] = {}
    if "csv_files" in _existing_tables(db):
        with closing(connect_readonly(db)) as conn:
            sql = "SELECT path, loaded_into, version, size, modified_ns FROM csv_files"
            loaded = {(path, table): found for path, table, *found in conn.execute(sql).fetchall()}
    numbered = []
    for source in sources:
        known = loaded.get((source.name, load.name_for(source)))
        if known is not None:
            version, *seen = known
            changed = seen != [source.size, source.modified_ns]
            source = replace(source, version=version + changed)  # noqa: PLW2901 - the same file, numbered
        numbered.append(source)
    return numbered


def _existing_tables(db: Path) -> set[str]:
    if not db.is_file():
        return set()
    with closing(connect_readonly(db)) as conn:
        return {name.lower() for (name,) in conn.execute("SELECT name FROM sqlite_master").fetchall()}


def _number(word: str, kind: Callable[[str], Any], source: Source, line: int, column: str) -> Any:
    try:
        if "_" not in word:  # Python would read 1_000
            return kind(word)
    except ValueError:
        pass
    name = next(name for name, known in _TYPES.items() if known is kind)
    raise ValueError(f"{source.name}, line {line}: {word[:60]!r} in the column {column} is not {name}")


def _checked_types(types: str | Mapping[str, str]) -> dict[str, type]:
    if isinstance(types, str):
        pairs = [pair for pair in types.split(",") if pair]
        if lone := next((pair for pair in pairs if "=" not in pair), None):
            raise ValueError(f"type {lone}: write COLUMN=int, COLUMN=float or COLUMN=text")
        types = dict(pair.rpartition("=")[::2] for pair in pairs)
    for column, name in types.items():
        if not column or name not in _TYPES:
            raise ValueError(f"type {column}={name}: write COLUMN=int, COLUMN=float or COLUMN=text")
    return {column: _TYPES[name] for column, name in types.items()}


def _checked_delimiter(delimiter: str | None) -> str | None:
    delimiter = "\t" if delimiter in ("\\t", "tab") else delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n '):
        raise ValueError(f"delimiter {delimiter!r}: give one character, or tab")
    return delimiter


def _checked_encoding(encoding: str) -> str:
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise ValueError(f"encoding {encoding!r} is not known: try utf-8, latin-1 or cp1252") from None


def _delimiter_of(header: str, source: Source) -> str:
    """Return the delimiter that makes most columns of a header."""
    if source.path.suffix.lower() == ".tsv":
        return "\t"
    return max(_DELIMITERS, key=lambda char: len(next(csv.reader([header], delimiter=char), [])))


def _is_free(table: str) -> bool:
    """Say whether a table may have this name: the ledger's, SQLite's and this program's own are taken."""
    name = table.lower()
    return _fits(name) and name not in ("task_runs", "csv_files") and not name.startswith(("pipeloom_", "sqlite_"))


def _fits(name: str) -> bool:
    return 0 < len(name) <= 200 and name.isprintable()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


if __name__ == "__main__":
    pipeloom.console.print(main())
