"""Load a folder of CSV files into one SQLite file: one table per file name, or one table for all.

Each file is one task: its rows are committed together with its "done". A second call loads new files. A file whose
size or modification time has changed is loaded again, and its earlier rows are deleted in the same commit; rows of
deleted files stay. The column ``_file`` says which file a row came from, and ``csv_files`` lists the files.

A file is identified by its real path relative to the folder of the database, so it is one file however the folder
was spelled, and database and files can be moved together.

Columns are text unless a type is declared or detection is requested, so ``007`` stays ``007``. An empty field is
NULL. The columns of an existing table keep their types.

The package ``pipeloom.examples.delimited`` finds and reads the files; it can be used as it is. This program is
meant to be changed.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import pipeloom
from pipeloom import TaskContext, connect_readonly
from pipeloom.examples.delimited import (
    KINDS,
    Format,
    Found,
    Source,
    Tables,
    find,
    loses_nothing,
    lower,
    open_sheet,
    quoted,
)

__all__ = ["main"]

_FILES: Final[Mapping[str, type]] = {
    "path": str,
    "loaded_into": str,
    "version": int,
    "size": int,
    "modified_ns": int,
    "rows": int,
}


def main(
    folder: Path | None = None,
    db: Path = Path("csv.db"),
    *,
    files: Path = Path("csv-files"),
    table: str | None = None,
    types: str | Mapping[str, str] = "",
    detect_types: bool = False,
    delimiter: str | None = None,
    encoding: str = "utf-8-sig",
    header: bool = True,
    skip: int = 0,
    rename_duplicates: bool = False,
    ragged: str = "error",
    alter: bool = False,
    again: bool = False,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Load all ``.csv`` and ``.tsv`` files below a folder, also from ``.gz``, ``.zst`` and ``.zip`` files.

    Prints on ``pipeloom.console`` what was not loaded.

    Args:
        folder: Where the files are. None: three small files to try it with, written to ``files``.
        db: The database.
        files: Used only without ``folder``.
        table: One table for all files. Default: each file's rows go to the table of its name.
        types: Column → ``int``, ``float`` or ``text``, or the same as ``"column=int,other=float"``.
        detect_types: Read all files first, and declare the type that fits all values of a new column.
        delimiter: One character, ``"tab"``, or ``"none"`` for files of one column. Default: detected for each file.
        encoding: The encoding of files without a byte order mark.
        header: Whether the first row has the columns' names; otherwise they are c1, c2 and so on.
        skip: How many lines to skip before it.
        rename_duplicates: Rename a second column ``a`` to ``a_2``, and name unnamed columns by their position.
        ragged: ``"pad"`` fills short rows with NULL; with ``"error"``, their file fails.
        alter: Add columns that an existing table lacks. Default: such a file fails.
        again: Load all files again, including unchanged ones; no row is stored twice.
        workers: The number of threads.

    Raises:
        ValueError: There is nothing to load, or an argument is invalid; nothing has been written.
        TasksFailedError: Some files could not be loaded; each error says why.
    """
    if folder is None:
        from pipeloom.examples.practice import write_files

        folder = write_files(files)[0].parent
    if table is not None and not _is_free(table):
        raise ValueError(f"{table!r} cannot be the name of a table for rows: choose another")
    form = _checked_format(delimiter, encoding, header, skip, rename_duplicates, ragged)
    found = find(folder, Path(db).expanduser().resolve().parent)
    load = Load(table, form, Tables(db, alter=alter))
    sources = with_versions(found.sources, load, db)
    load.tables.plan(load.table_of, sources, form, types=_checked_types(types), detect=detect_types)
    try:
        return pipeloom.map(
            load,
            sources,
            db=db,
            name="csv" if table is None else f"csv into {load.tables.spelled(table)}",
            key=str,
            workers=workers,
            resume=not again,
            tables={**load.tables.declared(), "csv_files": _FILES},
            alter=alter,
        )
    finally:
        for line in remarks(found, load):
            pipeloom.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Load:
    """How each file is loaded; called by the workers."""

    def __init__(self, table: str | None, form: Format, tables: Tables) -> None:
        self.table = table
        self.form = form
        self.tables = tables
        self.empty_lines: dict[str, int] = {}  # of the files of this run that have any

    def __call__(self, source: Source, ctx: TaskContext) -> dict[str, Any]:
        """Load one file: delete its earlier rows and insert its new ones, in one commit."""
        table = self.tables.spelled(self.table_of(source))
        count = 0
        ctx.progress(0, source.size)
        with open_sheet(source, self.form) as sheet:
            kinds = self.tables.kinds(source, table, sheet.columns)
            self._remove_former(source, table, ctx)
            for chunk in sheet.chunks([None if kind == "text" else loses_nothing(kind) for kind in kinds]):
                for row in chunk:
                    row.append(source.key)
                ctx.write(table, chunk, columns=[*sheet.columns, "_file"], null=("",))
                count += len(chunk)
                ctx.progress(sheet.position, source.size)
                ctx.check()
        values = (source.key, table, source.version, source.size, source.modified_ns, count)
        ctx.write(
            "csv_files", [values], columns=list(_FILES), on_conflict="update", conflict_on=("path", "loaded_into")
        )
        if sheet.empty_lines:
            self.empty_lines[source.name] = sheet.empty_lines
        return {"table": table, "rows": count}

    def name_for(self, source: Source) -> str:
        """Return the name of the table for a file's rows."""
        return self.table or source.stem

    def table_of(self, source: Source) -> str:
        """Return the checked name of the table for a file's rows."""
        name = self.name_for(source)
        if not _is_free(name):
            raise ValueError(
                f"{source.name}: {name!r} cannot be the name of its table: rename it, or use one table"
            )
        return name

    def _remove_former(self, source: Source, table: str, ctx: TaskContext) -> None:
        """Delete what was loaded from this file; without an index, many files in one table take quadratic time."""
        known = "SELECT 1 FROM csv_files WHERE path = ? AND loaded_into = ?"
        if self.tables.exists(table) and ctx.query(known, (source.key, table)):
            index = f"{table}_by_file"
            if not ctx.query("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?", (index,)):
                ctx.execute(f"CREATE INDEX IF NOT EXISTS {quoted(index)} ON {quoted(table)} (_file)")
            # By name: with statistics from when the table was small, SQLite would search it row by row.
            ctx.execute(f"DELETE FROM {quoted(table)} INDEXED BY {quoted(index)} WHERE _file = ?", (source.key,))


def with_versions(sources: Sequence[Source], load: Load, db: Path) -> list[Source]:
    """Number each file's version from what was last loaded: a changed file is a new task, and so it runs."""
    loaded: dict[tuple[str, str], tuple[int, int, int]] = {}
    if load.tables.exists("csv_files"):
        with closing(connect_readonly(db)) as conn:
            sql = "SELECT path, loaded_into, version, size, modified_ns FROM csv_files"
            loaded = {(path, table): found for path, table, *found in conn.execute(sql).fetchall()}
    numbered = []
    for source in sources:
        known = loaded.get((source.key, load.tables.spelled(load.name_for(source))))
        if known is not None:
            version, *seen = known
            changed = seen != [source.size, source.modified_ns]
            source = replace(source, version=version + changed)  # noqa: PLW2901 - the same file, numbered
        numbered.append(source)
    return numbered


def remarks(found: Found, load: Load) -> list[str]:
    """Return a line for each reason why something was not loaded, with up to three names."""
    lines = [
        f"  skipped: {len(names):,} {reason} ({_some(sorted(names))})"
        for reason, names in sorted(found.passed_over.items())
    ]
    if load.empty_lines:
        names = [f"{name}: {count:,}" for name, count in sorted(load.empty_lines.items())]
        lines.append(f"  skipped: {sum(load.empty_lines.values()):,} empty lines ({_some(names)})")
    return lines


def _some(names: Sequence[str]) -> str:
    shown = ", ".join("".join(char if char.isprintable() else "?" for char in name[:60]) for name in names[:3])
    return f"{shown} …" if len(names) > 3 else shown


def _checked_types(types: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(types, str):
        pairs = [pair for pair in types.split(",") if pair]
        if lone := next((pair for pair in pairs if "=" not in pair), None):
            raise ValueError(f"type {lone}: write COLUMN=int, COLUMN=float or COLUMN=text")
        types = dict(pair.rpartition("=")[::2] for pair in pairs)
    for column, name in types.items():
        if not column or name not in KINDS:
            raise ValueError(f"type {column}={name}: write COLUMN=int, COLUMN=float or COLUMN=text")
    return dict(types)


def _checked_format(
    delimiter: str | None, encoding: str, header: bool, skip: int, rename: bool, ragged: str
) -> Format:
    delimiter = {"\\t": "\t", "tab": "\t", "none": ""}.get(delimiter or "?", delimiter)
    if delimiter is not None and (len(delimiter) > 1 or delimiter in set('"\r\n ')):
        raise ValueError(f"delimiter {delimiter!r}: give one character, tab, or none for files of one column")
    try:
        "".encode(encoding)
        encoding = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        raise ValueError(f"encoding {encoding!r} is not known: try utf-8, latin-1 or cp1252") from None
    if skip < 0:
        raise ValueError(f"skip {skip}: give the number of lines to leave out")
    words: dict[str, Literal["error", "pad"]] = {"error": "error", "pad": "pad"}
    if ragged not in words:
        raise ValueError(f"ragged {ragged!r}: choose pad or error")
    return Format(delimiter, encoding, header, skip, rename, words[ragged])


def _is_free(table: str) -> bool:
    """Return whether a table may have this name: those of the ledger, SQLite and this program are taken."""
    name = lower(table)
    return (
        name != ""
        and "\0" not in name
        and name not in ("task_runs", "csv_files")
        and not name.startswith(("pipeloom_", "sqlite_"))
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: pass main's as pipeloom run {sys.argv[0]} --arg NAME=VALUE")
    pipeloom.console.print(main())
