"""Plan the tables and columns for the rows of files, before the first row: the order of files does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from pipeloom import connect_readonly
from pipeloom.examples.delimited.finding import Source
from pipeloom.examples.delimited.rows import Format, lower, open_sheet
from pipeloom.examples.delimited.words import KINDS, Guess, kind_of_column

__all__ = ["Tables", "quoted"]


@dataclass
class Table:
    """A table for rows: its existing and new columns.

    Attributes:
        name: As first spelled; SQL ignores case.
        exists: Whether it existed before this run.
        kinds: Folded column → its kind of words: int, float, number, text, or None if it accepts any.
        new: Folded column → its spelling and kind; columns to create.
    """

    name: str
    exists: bool = False
    kinds: dict[str, str | None] = field(default_factory=dict)
    new: dict[str, tuple[str, str]] = field(default_factory=dict)


class Tables:
    """All tables that rows go to, planned before the first row, so that the order of files does not matter."""

    def __init__(self, db: Path, *, alter: bool) -> None:
        self._alter = alter
        self._tables = {lower(table.name): table for table in _existing(db)}
        self._types: dict[str, str] = {}

    def exists(self, table: str) -> bool:
        """Return whether a table existed before this run."""
        return lower(table) in self._tables and self._tables[lower(table)].exists

    def spelled(self, table: str) -> str:
        """Return a table's name as first spelled."""
        known = self._tables.get(lower(table))
        return table if known is None else known.name

    def plan(
        self,
        table_of: Callable[[Source], str],
        sources: Sequence[Source],
        form: Format,
        *,
        types: Mapping[str, str],
        detect: bool,
    ) -> None:
        """Determine the columns of all files; with ``detect``, also the types of their words, by reading all files.

        Files that cannot be read are left to their tasks.

        Args:
            table_of: Names a file's table, or raises ``ValueError``.
            sources: n files, 1 or more.
            form: Their format.
            types: Column → kind, as declared.
            detect: Whether to detect the types of new columns that are not declared.

        Raises:
            ValueError: A declared type is for no column, or contradicts that of an existing table.
        """
        self._types = {lower(name): kind for name, kind in types.items()}
        unknown = {lower(name): name for name in types}
        guesses: dict[tuple[str, str], Guess] = {}
        filled: set[str] = set()  # tables that rows go to
        for name, columns, seen in _columns(table_of, sources, form, self._lacks if detect else None):
            filled.add(lower(name))
            table = self._tables.setdefault(lower(name), Table(name))
            for column in columns:
                unknown.pop(lower(column), None)
                self._check(table, column)
                if lower(column) not in table.kinds and (self._alter or not table.exists):
                    table.new.setdefault(lower(column), (column, "text"))
            for column, guess in seen.items():
                guesses.setdefault((lower(name), lower(column)), Guess()).join(guess)
        if unknown and filled:
            raise ValueError(
                f"a type is given for {min(unknown.values())!r}, but no file has a column with that name"
            )
        for key, table in self._tables.items():
            for column, (spelling, kind) in table.new.items():
                found = guesses[key, column].kind if (key, column) in guesses else kind
                table.new[column] = (spelling, self._types.get(column, found))
            if key in filled and "_file" not in table.kinds and (self._alter or not table.exists):
                table.new["_file"] = ("_file", "text")

    def declared(self) -> dict[str, dict[str, type]]:
        """Return the tables and columns to create, as ``tables=`` takes them."""
        return {
            table.name: {spelling: KINDS[kind] for spelling, kind in table.new.values()}
            for table in self._tables.values()
            if table.new
        }

    def kinds(self, source: Source, name: str, columns: Sequence[str]) -> list[str]:
        """Return the kinds of words that a file's columns accept.

        Raises:
            ValueError: The table lacks one of them.
        """
        table = self._tables.get(lower(name), Table(name))
        known = {**table.kinds, **{column: kind for column, (_, kind) in table.new.items()}}
        for column in [*columns, "_file"] if columns else []:
            if lower(column) not in known:
                raise ValueError(f"{source.name}: the table {name} has no column {column}: add it with --alter")
        return [self._types.get(lower(column)) or known[lower(column)] or "text" for column in columns]

    def _lacks(self, name: str, columns: Sequence[str]) -> list[str]:
        """Return those columns whose type is still open."""
        table = self._tables.get(lower(name), Table(name))
        return [
            column for column in columns if lower(column) not in table.kinds and lower(column) not in self._types
        ]

    def _check(self, table: Table, column: str) -> None:
        wanted, found = self._types.get(lower(column)), table.kinds.get(lower(column))
        if wanted is None or found is None or wanted == found or (wanted, found) == ("int", "number"):
            return
        raise ValueError(
            f"type {column}={wanted}: the column {column} of the table {table.name}, which exists, is "
            f"{'numeric' if found == 'number' else found}"
        )


def _columns(
    table_of: Callable[[Source], str],
    sources: Sequence[Source],
    form: Format,
    lacking: Callable[[str, Sequence[str]], list[str]] | None,
) -> Iterator[tuple[str, list[str], dict[str, Guess]]]:
    """Yield table and columns of each readable, non-empty file, and the types of its words if requested."""
    for source in sources:
        seen: dict[str, Guess] = {}
        try:
            name = table_of(source)
            with open_sheet(source, form) as sheet:
                columns = sheet.columns
                if lacking is not None:
                    seen = {column: Guess() for column in lacking(name, columns)}
                if seen:
                    for chunk in sheet.chunks():
                        for column, words in zip(columns, zip(*chunk, strict=True), strict=True):
                            if column in seen:
                                seen[column].see(words)
        except (OSError, ValueError):  # its task will report it; part of a file must not decide anything
            continue
        if columns:
            yield name, columns, seen


def _existing(db: Path) -> list[Table]:
    """Return the tables of a database, with the kinds of their columns."""
    if not db.is_file():
        return []
    with closing(connect_readonly(db)) as conn:
        names = conn.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        return [
            Table(
                name,
                exists=True,
                kinds={
                    lower(column): kind_of_column(declared, is_strict=_is_strict(sql))
                    for _, column, declared, *_ in conn.execute(f"PRAGMA table_xinfo({quoted(name)})")
                },
            )
            for name, sql in names
        ]


def _is_strict(sql: str | None) -> bool:
    return "STRICT" in (sql or "").upper().rpartition(")")[2]


def quoted(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'
