"""What one call to ``write`` becomes: blocks of rows for one table, checked and copied during the call.

A row sets only the columns that it has, so rows are grouped by their keys: consecutive rows with the same keys form
one block, and all rows keep their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import GeneratorType
from typing import Any, Final, NamedTuple

from pipeloom.data.frames import Frame, frame_of
from pipeloom.data.identifiers import ascii_lower, is_reserved, quoted
from pipeloom.data.records import reader_for
from pipeloom.data.text import attribute, clean, describe
from pipeloom.data.values import Params, adapt_columns, adapt_rows, text_rows
from pipeloom.errors import RowRefusedError
from pipeloom.messages import MsgWriteRows, OnConflict

__all__ = ["Block", "Blocks", "Shape", "Statement", "block_for", "blocks_from", "blocks_of", "checked_null"]

_PLAIN_SEQUENCES: Final = frozenset({list, tuple})
_PLAIN_ROWS: Final = (dict, list, tuple, GeneratorType)  # common types that are neither one record nor a frame
_NO_ROWS: Final = (str, bytes, bytearray, memoryview)


class Shape(NamedTuple):
    """Where and how rows are stored; rows of one shape are stored by one statement."""

    table: str
    columns: tuple[str, ...]
    on_conflict: OnConflict
    conflict_on: tuple[str, ...]
    alter: bool = False
    """Add the columns that the table lacks."""


class Statement(NamedTuple):
    """One SQL statement with storable parameters."""

    sql: str
    params: Params


class Block(NamedTuple):
    """n rows of one shape, each a tuple of ``len(shape.columns)`` storable values."""

    shape: Shape
    rows: list[tuple[object, ...]]
    is_text: bool = False
    """All values are known to be text or NULL."""


class Blocks(tuple[Block, ...]):
    """The n blocks of one message: stored together or not at all."""

    __slots__ = ()


def blocks_of(
    table: str,
    rows: Mapping[str, Any] | Iterable[Any],
    columns: Sequence[str] | None = None,
    *,
    null: Sequence[Any] = (),
    on_conflict: OnConflict = "error",
    conflict_on: Sequence[str] = (),
    alter: bool = False,
    before: int = 0,
) -> list[Block]:
    """Check and copy the rows of one call; returns a block for each series of rows with the same keys.

    Args:
        table: The user's table.
        rows: One row, or an iterable of n rows, 0 or more: mappings, dataclasses and other records, or, with
            ``columns``, sequences of ``len(columns)`` values; or a frame of n rows.
        columns: The order of the values in rows that are sequences.
        null: Values to store as NULL.
        on_conflict: What to do with a row that violates a UNIQUE constraint.
        conflict_on: The columns of that constraint; required for ``"update"``.
        alter: Add the columns that the table lacks.
        before: How many rows of this call came before these, for the row numbers in errors.

    Raises:
        RowRefusedError: A name, value or option is invalid; nothing is staged.
    """
    _check_target(table, on_conflict, conflict_on, alter)
    absent = checked_null(null) if null != () else None
    if (frame := _frame(table, rows, columns)) is not None:
        found = _of_frame(table, frame, absent)
    elif columns is not None:
        names = _checked_names(columns)
        found = _one_kind(names, _sequences(table, rows, names))
    elif isinstance(rows, dict):
        found = _one_kind(tuple(rows), [tuple(rows.values())])
    else:
        found = _records(table, rows)
    target = tuple(conflict_on)
    shapes: dict[tuple[str, ...], Shape] = {}
    textual: set[tuple[str, ...]] = set()
    for names, copied in found.rows.items():
        _check_names(names)
        shapes[names] = Shape(table, names, on_conflict, target, alter)
        if on_conflict == "error" and type(table) is str:
            _remember(shapes[names])
        if frame is not None:
            continue
        if len(copied) > 1 and (text := text_rows(copied, absent)) is not None:
            found.rows[names] = text
            textual.add(names)
        else:
            found.rows[names] = adapt_rows(copied, table, names, absent)
    blocks = [Block(shapes[names], stretch, names in textual) for names, stretch in _stretches(found)]
    if target:
        _check_conflicts(table, blocks, target, before)
    return blocks


def _check_target(table: str, on_conflict: str, conflict_on: Sequence[str], alter: object) -> None:
    try:
        quoted(table)
    except ValueError as error:
        raise RowRefusedError(str(error)) from None
    if is_reserved(table):
        raise RowRefusedError(f"table {clean(table, 60)} is the ledger's own: choose another name")
    if on_conflict not in ("error", "ignore", "update"):
        raise RowRefusedError(f'on_conflict must be "error", "ignore" or "update", not {clean(on_conflict, 40)!r}')
    if isinstance(conflict_on, str):
        raise RowRefusedError("conflict_on must be a sequence of column names, not one string")
    if not all(isinstance(name, str) for name in conflict_on):
        raise RowRefusedError("conflict_on must be a sequence of column names")
    if on_conflict == "update" and not conflict_on:
        raise RowRefusedError('on_conflict="update" needs conflict_on=, the columns of a UNIQUE constraint')
    if conflict_on and on_conflict == "error":
        raise RowRefusedError('conflict_on= needs on_conflict="ignore" or "update"')
    if not isinstance(alter, bool):
        raise RowRefusedError(f"alter must be True or False, not {clean(alter, 40)!r}")


def _check_conflicts(table: str, blocks: Iterable[Block], conflict_on: tuple[str, ...], before: int) -> None:
    """Refuse a row that never conflicts, as NULL equals nothing in SQL: each run would add the row again.

    Source: https://www.sqlite.org/lang_createtable.html ("each NULL value is distinct from all other values")
    """
    folded = [ascii_lower(name) for name in conflict_on]
    places_of: dict[tuple[str, ...], list[int | None]] = {}
    for shape, rows, _ in blocks:
        places = places_of.get(shape.columns)
        if places is None:
            found = {ascii_lower(name): place for place, name in enumerate(shape.columns)}
            places = places_of[shape.columns] = [found.get(name) for name in folded]
        for column, place in zip(conflict_on, places, strict=True):
            if place is None:
                where = _where(table, column, before)
                raise RowRefusedError(f"{where} lacks this column, which conflict_on= names")
            if None in map(itemgetter(place), rows):
                where = _where(table, column, before + [row[place] for row in rows].index(None))
                raise RowRefusedError(
                    f"{where} has NULL there, which never conflicts, so each run would add the row again: give it "
                    "a value, or remove the column from conflict_on="
                )
        before += len(rows)


def _where(table: str, column: str, before: int) -> str:
    return f"table {clean(table, 60)}, column {clean(column, 60)}: row {before + 1:,}"


def checked_null(null: Sequence[Any]) -> frozenset[Any]:
    """Return the values to store as NULL, as a set."""
    if isinstance(null, str | bytes):
        raise RowRefusedError('null must be a sequence of values, such as ("", "NA"), not one string')
    try:
        return frozenset(null)
    except TypeError as error:
        raise RowRefusedError(f"null must be a sequence of plain values: {error}") from None


def _checked_names(columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        raise RowRefusedError("columns must be a sequence of column names, not one string")
    names = tuple(columns)
    _check_names(names)
    return names


# The same names occur hundreds of thousands of times; they are checked once. Bounded by clearing.
_known_names: set[tuple[str, ...]] = set()


# The same for whole shapes, by table and columns: tasks that write row by row alternate between a few shapes.
_known_shapes: dict[tuple[str, tuple[str, ...]], Shape] = {}


def _remember(shape: Shape) -> None:
    if len(_known_shapes) > 10_000:
        _known_shapes.clear()
    _known_shapes[shape.table, shape.columns] = shape


def _check_names(names: tuple[str, ...]) -> None:
    try:
        if names in _known_names:
            return
        for name in names:
            quoted(name, "column")
    except (ValueError, TypeError) as error:
        raise RowRefusedError(str(error)) from None
    folded = [ascii_lower(name) for name in names]
    if len(set(folded)) != len(folded):
        twice = next(name for name in names if folded.count(ascii_lower(name)) > 1)
        raise RowRefusedError(f"column {clean(twice, 60)} occurs twice in one row (SQL ignores case)")
    if not names:
        raise RowRefusedError("a row needs at least one column")
    if len(_known_names) > 1000:
        _known_names.clear()
    _known_names.add(names)


def _sequences(table: str, rows: Any, names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise RowRefusedError(
            f"table {clean(table, 60)}: with columns=, rows must be an iterable of sequences, "
            f"not {type(rows).__name__}"
        )
    copied: list[tuple[Any, ...]] = []
    if type(rows) is list and set(map(type, rows)) <= _PLAIN_SEQUENCES:
        copied, rows = list(map(tuple, rows)), ()
    for row in rows:
        if type(row) in _PLAIN_SEQUENCES:  # checking an abstract class would take longer than reading the row
            copied.append(tuple(row))
            continue
        if isinstance(row, str | bytes | Mapping) or not isinstance(row, Sequence):
            raise RowRefusedError(
                f"table {clean(table, 60)}: with columns=, each row must be a sequence, not {type(row).__name__}"
            )
        copied.append(tuple(row))
    lengths = set(map(len, copied))
    if lengths - {len(names)}:
        wrong = next(iter(lengths - {len(names)}))
        raise RowRefusedError(f"table {clean(table, 60)}: a row has {wrong} values for {len(names)} columns")
    return copied


class _Found(NamedTuple):
    """Rows by their keys, so that rows with the same keys are checked together, however often keys alternate."""

    rows: dict[tuple[str, ...], list[tuple[Any, ...]]]
    begins: list[tuple[tuple[str, ...], int]]
    """The series in order: the keys of the rows that follow, and how many rows with these keys came before."""


def _one_kind(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> _Found:
    return _Found({names: rows} if rows else {}, [(names, 0)] if rows else [])


def _frame(table: str, rows: object, columns: object) -> Frame | None:
    if type(rows) in _PLAIN_ROWS:
        return None
    try:
        frame = frame_of(rows)
    except Exception as error:  # from a foreign library
        raise RowRefusedError(f"table {clean(table, 60)}: {describe(error)}") from error
    if frame is not None and columns is not None:
        raise RowRefusedError(
            f"table {clean(table, 60)}: a frame has column names of its own: omit columns=, or rename the "
            "frame's columns"
        )
    return frame


def _of_frame(table: str, frame: Frame, null: frozenset[Any] | None) -> _Found:
    names, columns = frame
    if not columns or not len(columns[0]):
        return _Found({}, [])
    _check_names(names)
    return _one_kind(names, list(zip(*(adapt_columns(columns, table, names, null) or columns), strict=True)))


def _records(table: str, rows: Any) -> _Found:
    """Copy rows with any keys; rows with the same keys take the column order of the first of them."""
    if type(rows) not in _PLAIN_ROWS:
        if reader_for(rows) is not None:
            rows = (rows,)
        elif isinstance(rows, _NO_ROWS) or not isinstance(rows, Iterable) or _has_columns(rows):
            raise RowRefusedError(
                f"table {clean(table, 60)}: rows must be one row, an iterable of rows, or a frame of pandas, "
                f"polars or pyarrow, not {type(rows).__name__}"
            )
    found = _Found({}, [])
    orders: dict[tuple[str, ...] | frozenset[str], tuple[str, ...]] = {}
    names: tuple[str, ...] | None = None
    copied: list[tuple[Any, ...]] = []
    values: Iterable[Any]
    for row in rows:
        if type(row) is dict:
            keys, values = tuple(row), row.values()
        else:
            keys, values = _read(table, row)
        if keys == names:
            copied.append(tuple(values))
            continue
        order = orders.get(keys)
        if order is None:
            order = orders.setdefault(frozenset(keys), keys)
            order = orders[keys] = order if len(order) == len(keys) else keys  # a repeated name is refused later
        if order != names:
            names, copied = order, found.rows.setdefault(order, [])
            found.begins.append((names, len(copied)))
        if keys != names:
            values = map(dict(zip(keys, values, strict=True)).__getitem__, names)
        copied.append(tuple(values))
    return found


def _has_columns(rows: Any) -> bool:
    """Return whether it looks like a frame; iterating one yields its names, or nothing useful."""
    columns = attribute(rows, "columns")
    return columns is not None and not callable(columns)  # SQLAlchemy's results have a method of this name


def _read(table: str, row: Any) -> tuple[tuple[str, ...], Iterable[Any]]:
    read = reader_for(row)
    if read is not None:
        return read(row)
    hint = ": pass columns= for rows that are sequences" if isinstance(row, Sequence) else ""
    raise RowRefusedError(
        f"table {clean(table, 60)}: a row must be a mapping, a dataclass or another record with named values, "
        f"not {type(row).__name__}{hint}"
    )


def _stretches(found: _Found) -> Iterator[tuple[tuple[str, ...], list[tuple[Any, ...]]]]:
    """Yield each series with its rows, in order."""
    if len(found.begins) == len(found.rows):
        yield from found.rows.items()
        return
    ends: list[int] = []
    after = {names: len(rows) for names, rows in found.rows.items()}
    for names, begin in reversed(found.begins):
        ends.append(after[names])
        after[names] = begin
    for (names, begin), end in zip(found.begins, reversed(ends), strict=True):
        yield names, found.rows[names][begin:end]


def block_for(last: object, table: object, row: object, alter: bool) -> Block | None:
    """Return the block that a plain row may join, or an empty one; ``None`` if its names must be checked first.

    Args:
        last: What was staged last.
        table: As the caller passed it.
        row: As the caller passed it; if it is a dict of a known shape, only its values remain to be checked.
        alter: Add the columns that the table lacks.
    """
    if type(row) is not dict:
        return None
    names = tuple(row)
    if type(last) is Block:
        shape = last.shape
        if (
            shape.columns == names
            and shape.table == table
            and shape.on_conflict == "error"
            and shape.alter is alter
        ):
            return last
    if type(table) is not str:
        return None
    known = _known_shapes.get((table, names))
    return Block(known, []) if known is not None and known.alter is alter else None


def blocks_from(message: MsgWriteRows, *, alter: bool = False) -> list[Block]:
    """Check and copy the rows of a message; see :func:`blocks_of`.

    Args:
        message: The message that was put.
        alter: The default for a message that does not say whether to add columns.
    """
    return blocks_of(
        message.table,
        message.rows,
        message.columns,
        null=message.null,
        on_conflict=message.on_conflict,
        conflict_on=message.conflict_on,
        alter=alter if message.alter is None else message.alter,
    )
