"""A file's columns and rows, read like csv.reader in strict mode."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Literal

from pipeloom.examples.delimited.dialect import NO_DELIMITER, SAMPLE, find_delimiter
from pipeloom.examples.delimited.finding import Source
from pipeloom.examples.delimited.opening import Lines, open_lines

__all__ = ["Format", "Sheet", "lower", "open_sheet"]

_CHUNK: Final = 5000  # rows
_CHUNK_SIZE: Final = 4 << 20  # characters
_LONGEST_FIELD: Final = 16 << 20  # characters; Python's own limit is 131,072
_MOST_COLUMNS: Final = 1999  # SQLite allows 2,000, and one is the file
_EXCEL: Final = re.compile(r"(?i)sep=(.)[\r\n]*")
_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True)
class Format:
    """The format of files.

    Attributes:
        delimiter: One character, or ``""`` for files of one column. None: detected for each file.
        encoding: The encoding of files without a byte order mark.
        header: Whether the first row has the names of the columns; otherwise they are c1, c2 and so on.
        skip: How many lines come before it.
        rename: Whether to name unnamed columns, and rename repeated ones.
        ragged: With ``"pad"``, short rows are filled with empty fields, and empty fields past the last column are
            dropped. With ``"error"``, the file fails.
    """

    delimiter: str | None = None
    encoding: str = "utf-8-sig"
    header: bool = True
    skip: int = 0
    rename: bool = False
    ragged: Literal["error", "pad"] = "error"


class Sheet:
    """An open file: its columns are known, its rows are read once.

    Attributes:
        columns: The names of n columns; none if the file is empty.
        empty_lines: How many empty lines have been skipped so far.
    """

    def __init__(self, source: Source, form: Format, lines: Lines) -> None:
        self.columns: list[str] = []
        self.empty_lines = 0
        self._source = source
        self._form = form
        self._lines = lines
        self._skipped = form.skip
        self._characters = 0
        csv.field_size_limit(_LONGEST_FIELD)
        rest = iter(lines)
        for _ in islice(rest, form.skip):
            pass
        sample, whole = _sample(rest)
        delimiter = form.delimiter
        if sample and (excel := _EXCEL.fullmatch(sample[0])):  # a line that tells spreadsheets the delimiter
            self._skipped += 1
            delimiter = excel[1] if delimiter is None else delimiter
            del sample[0]
        if delimiter is None:
            try:
                delimiter = find_delimiter(sample, whole=whole, tabs=source.is_tsv)
            except ValueError as error:
                raise ValueError(f"{source.name}: {error}") from error
        counted = self._counted(chain(sample, rest))
        self._reader = csv.reader(counted, delimiter=delimiter or NO_DELIMITER, strict=True)
        with self._troubles():
            first = next(self._rows(), [])
        self._first = [] if form.header else [first]
        if len(first) > _MOST_COLUMNS:
            raise self._wrong(f"{len(first):,} columns: SQLite allows 2,000")
        self.columns = self._named(first) if form.header else [f"c{place}" for place in range(1, len(first) + 1)]

    @property
    def position(self) -> int:
        """About how many bytes of ``source.size`` have been read."""
        return self._lines.position

    def chunks(self, kinds: Sequence[Callable[[str], Any] | None] = ()) -> Iterator[list[list[Any]]]:
        """Yield the rows, thousands at a time but never many megabytes; each as wide as ``columns``.

        Args:
            kinds: For each column, a function from a non-empty word to a value; None keeps the word.

        Raises:
            ValueError: A row is invalid; the message names file and line.
        """
        width = len(self.columns)
        converting = [(place, kind) for place, kind in enumerate(kinds) if kind is not None]
        chunk: list[list[Any]] = []
        full = self._characters + _CHUNK_SIZE
        with self._troubles():
            for row in chain([row for row in self._first if row], self._rows()):
                if len(row) != width and not self._fit(row, width):
                    continue
                for place, kind in converting:
                    if row[place]:
                        row[place] = self._value(row[place], kind, place)
                chunk.append(row)
                if len(chunk) == _CHUNK or self._characters > full:
                    yield chunk
                    chunk, full = [], self._characters + _CHUNK_SIZE
        if chunk:
            yield chunk

    def _rows(self) -> Iterator[list[str]]:
        for row in self._reader:
            if row:
                yield row
            else:
                self.empty_lines += 1

    def _fit(self, row: list[str], width: int) -> bool:
        """Make a row as wide as it should be, or report that it is empty."""
        if len(row) == 1 and not row[0].strip():
            self.empty_lines += 1
            return False
        if self._form.ragged == "pad" and not any(row[width:]):
            row[width:] = [""] * (width - len(row))
            return True
        more = " (with --ragged pad, what is missing is NULL)" if len(row) < width else ""
        raise self._wrong(f"{len(row)} values for {width} columns{more}")

    def _value(self, word: str, kind: Callable[[str], Any], place: int) -> Any:
        try:
            return kind(word)
        except ValueError as error:
            raise self._wrong(f"{word[:60]!r} in the column {self.columns[place]} {error}") from error

    def _named(self, header: list[str]) -> list[str]:
        """Return the names of a header, checked, and made unique if requested."""
        taken = {lower(name) for name in header} | {"_file"}
        seen = {"_file"} if self._form.rename else set[str]()
        names = []
        for place, name in enumerate(header, 1):
            if "\0" in name:
                raise self._wrong(
                    f"column {place} has a NUL in its name: if the file is UTF-16, pass --encoding utf-16-le"
                )
            if self._form.rename:
                name = name or _free(f"c{place}", taken)  # noqa: PLW2901 - the same column, named
                name = name if lower(name) not in seen else _free(name, taken, 2)  # noqa: PLW2901
                taken.add(lower(name))
            elif not name:
                raise self._wrong(f"column {place} has no name (--rename-duplicates gives it one)")
            elif lower(name) in seen:
                raise self._wrong(
                    f"two columns are named {name!r} (SQL ignores case; --rename-duplicates renames one)"
                )
            elif lower(name) == "_file":
                raise self._wrong("the column name _file is reserved for this program: rename it")
            seen.add(lower(name))
            names.append(name)
        return names

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{self._source.name}, line {self._reader.line_num + self._skipped}: {what}")

    @contextmanager
    def _troubles(self) -> Iterator[None]:
        try:
            yield
        except csv.Error as error:
            raise self._wrong(str(error)) from error

    def _counted(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self._characters += len(line)
            yield line


@contextmanager
def open_sheet(source: Source, form: Format) -> Iterator[Sheet]:
    """Open a file, and read its columns.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is invalid; the message names file and line, and says what to do.
    """
    with open_lines(source, form.encoding) as lines:
        yield Sheet(source, form, lines)


def lower(name: str) -> str:
    """Fold a name as SQL does: A to Z only."""
    return name.translate(_LOWER)


def _sample(lines: Iterator[str]) -> tuple[list[str], bool]:
    """Return some lines, and whether those are all."""
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if size > SAMPLE:
            return sample, False
    return sample, True


def _free(name: str, taken: set[str], number: int = 1) -> str:
    """Return a name that is not taken: ``name``, or ``name_2`` and so on."""
    candidate = name if number == 1 else f"{name}_{number}"
    while lower(candidate) in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
