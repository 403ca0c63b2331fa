"""Detect the character that separates the fields of a file, by whether its lines agree.

A delimiter fits if it splits all records of a sample alike, and quotes are only where they are allowed. If several
fit, those are dropped whose every occurrence is explained by another one: a comma within ``1,50`` or before a
space, as in ``Price, net``. Any remaining ambiguity is an error that asks for the delimiter; it is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["NO_DELIMITER", "SAMPLE", "find_delimiter"]

SAMPLE: Final = 1 << 15
"""The most characters to examine, in whole lines."""
NO_DELIMITER: Final = "\U0010ffff"
"""For a file of one column; no text contains this character."""

_CANDIDATES: Final = ";,\t|"
_NAMES: Final = {"\t": "tab"}
_PROSE: Final = ",;"  # also common in texts
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,3}(?:[0-9]*|(?:[. '][0-9]{3})*),[0-9]+(?: ?[%€$])?")
_COMMENT: Final = re.compile(r"# |#!|//|-- |/\*")


@dataclass(frozen=True)
class _Reading:
    """The sample, as one delimiter splits it: n records of cells, each with whether it was quoted."""

    delimiter: str
    records: Sequence[Sequence[tuple[str, bool]]]
    is_broken: bool

    @property
    def width(self) -> int:
        """How many cells the first record has."""
        return len(self.records[0]) if self.records else 0

    @property
    def fits(self) -> bool:
        return not self.is_broken and self.width > 1 and all(len(cells) == self.width for cells in self.records)

    @property
    def has_stray_quotes(self) -> bool:
        return any('"' in cell for cells in self.records for cell, quoted in cells if not quoted)

    def share(self, records: Sequence[Sequence[object]]) -> float:
        """Return the fraction of the records that have the most common width above 1."""
        widths = [len(cells) for cells in records if len(cells) > 1]
        return max(map(widths.count, set(widths))) / len(records) if widths else 0.0

    def explains(self, other: str, *, fits: bool = False) -> bool:
        """Return whether all of another delimiter's occurrences are parts of numbers or sentences in this reading.

        If the other one fits, sentences alone are not enough: if each record has one, as in ``a;b, c``, it may just
        as well be split at ", ".
        """
        sentences = 0
        for cells in self.records:
            unquoted = [cell for cell, quoted in cells if not quoted and other in cell]
            texts = [cell for cell in unquoted if other not in _PROSE or not _NUMBER.fullmatch(cell.strip())]
            if not all(other in _PROSE and _is_sentence(cell, other) for cell in texts):
                return False
            sentences += bool(texts)
        return not fits or sentences < len(self.records)


def find_delimiter(lines: Sequence[str], *, whole: bool, tabs: bool = False) -> str:
    """Return the delimiter of a file.

    Args:
        lines: n lines of its beginning, 0 or more, with their ends.
        whole: Whether these are all lines.
        tabs: Whether its name says that it is separated by tabs.

    Raises:
        ValueError: It could be more than one, or the first line differs from the others; says what to do.
    """
    first = next((line for line in lines if line.strip()), "")
    if _COMMENT.match(first):
        raise ValueError("begins with what looks like a comment: skip it with --skip, or pass --delimiter")
    if tabs and "\t" in first:
        return "\t"
    text = "".join(lines)
    readings = [_read(text, char, whole) for char in _CANDIDATES if char in text]
    if fitting := [reading for reading in readings if reading.fits]:
        return _best(fitting, readings)
    if splitting := [reading for reading in readings if reading.width > 1]:
        return _likely(splitting, readings)
    return _single(_read(text, NO_DELIMITER, whole), readings)


def _best(fitting: Sequence[_Reading], readings: Sequence[_Reading]) -> str:
    """Choose among those that split all records alike."""
    fitting = [reading for reading in fitting if not reading.has_stray_quotes] or fitting
    left = _unexplained(fitting, fitting)
    if len(left) == 1:
        chosen = left[0]
        rivals = [
            reading
            for reading in readings
            if reading not in fitting
            and reading.width > 1
            and (chosen.has_stray_quotes or not (reading.has_stray_quotes or reading.is_broken))
            and not chosen.explains(reading.delimiter)
            and (reading.explains(chosen.delimiter) or reading.share(reading.records) >= 0.5)
        ]
        if not rivals:
            return chosen.delimiter
        left = [chosen, *rivals]
    raise _open_between(left or fitting)


def _likely(splitting: Sequence[_Reading], readings: Sequence[_Reading]) -> str:
    """Choose among those that split the first record, if none splits all alike: reading the rows will show why."""
    left = _unexplained(splitting, splitting)
    if len(left) != 1:
        raise _open_between(left or splitting)
    chosen = left[0]
    rest = chosen.records[1:]
    for reading in readings:
        if reading.width == 1 and not reading.is_broken:
            share = reading.share(reading.records[1:])
            if share and share >= chosen.share(rest):
                raise _unlike()
    return chosen.delimiter


def _single(column: _Reading, readings: Sequence[_Reading]) -> str:
    """Decide how to read a file whose first record is one cell with any delimiter."""
    others = [reading for reading in readings if any(len(cells) > 1 for cells in reading.records[1:])]
    if not others:
        return ","  # so that a later line with a comma outside quotes is reported
    if all(reading.share(reading.records[1:]) < 1 and column.explains(reading.delimiter) for reading in others):
        return NO_DELIMITER
    raise _unlike()


def _unexplained(readings: Sequence[_Reading], by: Sequence[_Reading]) -> list[_Reading]:
    return [
        reading
        for reading in readings
        if not any(other is not reading and other.explains(reading.delimiter, fits=reading.fits) for other in by)
    ]


def _open_between(readings: Sequence[_Reading]) -> ValueError:
    names = [_NAMES.get(reading.delimiter, reading.delimiter) for reading in readings]
    return ValueError(f"the delimiter could be {' or '.join(names)}: choose one with --delimiter")


def _unlike() -> ValueError:
    return ValueError(
        "its first line is not split like the others: skip the lines above the header with --skip, or pass "
        "--delimiter (none: the file has one column)"
    )


def _is_sentence(cell: str, char: str) -> bool:
    return all(part.startswith(" ") for part in cell.split(char)[1:])


def _read(text: str, delimiter: str, whole: bool) -> _Reading:
    """Split a sample as csv.reader does in strict mode, and record what was quoted."""
    char = re.escape(delimiter)
    cell = re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"|([^"{char}\r\n][^{char}\r\n]*)?)({char}|\r\n|\r|\n|\Z)')
    records: list[list[tuple[str, bool]]] = []
    cells: list[tuple[str, bool]] = []
    place = 0
    while place < len(text) or cells:
        if (found := cell.match(text, place)) is None:
            cut = not whole and re.compile(r'"[^"]*(?:""[^"]*)*\Z').match(text, place) is not None
            if not cut and not records:
                records.append(cells)
            return _Reading(delimiter, records, is_broken=not cut)
        quoted, plain, end = found.groups()
        cells.append((plain or "", False) if quoted is None else (quoted, True))
        place = found.end()
        if end != delimiter:
            if cells != [("", False)]:
                records.append(cells)
            cells = []
    return _Reading(delimiter, records, is_broken=False)
