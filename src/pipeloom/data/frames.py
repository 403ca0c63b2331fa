"""The columns of a whole frame of pandas, polars or pyarrow, read from its own arrays; none of them is imported.

Instants and durations are read as the integers that these libraries store, since ``datetime`` would lose
nanoseconds, and each distinct value is converted once. An index is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple

from pipeloom.data.scalars import ATTOSECONDS, iso_text
from pipeloom.data.text import kind_of

__all__ = ["Frame", "frame_of", "is_frame"]


class Frame(NamedTuple):
    """n columns: their names, and as many values in each."""

    names: tuple[str, ...]
    columns: list[Sequence[Any]]


def frame_of(rows: object) -> Frame | None:
    """Return the columns of a frame; ``None`` if ``rows`` is not one.

    Raises:
        ValueError: The frame has no rows yet, or a column cannot be read; the message says what to pass instead.
    """
    read = _reader_of(rows)
    return None if read is None else read(rows)


def is_frame(rows: object) -> bool:
    """Return whether this is a frame, whatever it contains."""
    return _reader_of(rows) is not None


def _reader_of(rows: object) -> Callable[[Any], Frame] | None:
    for kind in type(rows).__mro__:
        read = _READERS.get((str(kind.__module__).partition(".")[0], kind.__name__))
        if read is not None:
            return read
    return None


def _pandas(frame: Any) -> Frame:
    return Frame(tuple(frame.columns), [_of_series(frame.iloc[:, place]) for place in range(len(frame.columns))])


def _of_series(series: Any) -> Sequence[Any]:
    dtype = series.dtype
    if kind_of(dtype) == "CategoricalDtype":
        of_code = [*_of_series(series.cat.categories.to_series()), None]  # the code of a missing value is -1
        return [of_code[code] for code in series.cat.codes.tolist()]
    if kind_of(dtype) == "ArrowDtype":  # converting through pandas would lose nanoseconds
        return _of_arrow(series.array.__arrow_array__())
    zone = getattr(dtype, "tz", None)
    if kind_of(dtype) == "DatetimeTZDtype":
        series = series.dt.tz_convert(None)
        dtype = series.dtype
    is_numpy = str(type(dtype).__module__).startswith("numpy")
    if is_numpy and dtype.kind in "mM":
        array = series.to_numpy()
        counts = [None if count == _NAT else count for count in array.astype("int64").tolist()]
        unit = str(array.dtype).partition("[")[2].rstrip("]")
        return _instants(counts, unit, zone) if dtype.kind == "M" else _lengths(counts, unit)
    if is_numpy:
        values: list[Any] = series.tolist()
        return values
    return [
        None if missing else value
        for value, missing in zip(series.astype(object).tolist(), series.isna().tolist(), strict=True)
    ]


def _polars(frame: Any) -> Frame:
    return Frame(tuple(frame.columns), [_of_polars(series) for series in frame.get_columns()])


def _of_polars(series: Any) -> Sequence[Any]:
    dtype = series.dtype
    kind = str(dtype).partition("(")[0]
    if kind == "Datetime":
        zone = dtype.time_zone
        return _instants(series.to_physical().to_list(), dtype.time_unit, _zone(zone))
    if kind == "Duration":
        return _lengths(series.to_physical().to_list(), dtype.time_unit)
    if kind == "Time":
        return _clocks(series.to_physical().to_list(), "ns")
    values: list[Any] = series.to_list()
    return values


def _lazy(frame: Any) -> Frame:
    raise ValueError(f"a {kind_of(frame)} has no rows yet: pass frame.collect()")


def _pyarrow(table: Any) -> Frame:
    return Frame(tuple(table.schema.names), [_of_arrow(column) for column in table.columns])


def _of_arrow(column: Any) -> Sequence[Any]:
    kind = str(column.type).partition("[")[0].partition("<")[0]
    if kind == "dictionary":
        return _of_arrow(column.cast(column.type.value_type))
    if kind == "timestamp":
        return _instants(_counts(column, "int64"), column.type.unit, _zone(column.type.tz))
    if kind == "duration":
        return _lengths(_counts(column, "int64"), column.type.unit)
    if kind in ("time32", "time64"):
        return _clocks(_counts(column, f"int{kind[-2:]}"), column.type.unit)
    values: list[Any] = column.to_pylist()
    return values


def _counts(column: Any, whole: str) -> list[int | None]:
    counts: list[int | None] = column.cast(whole).to_pylist()
    return counts


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    if name[0] in "+-":
        return datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo
    from zoneinfo import ZoneInfo  # imported late: worker processes start faster

    return ZoneInfo(name)


_NAT: Final = -(2**63)
_MICROSECOND: Final = ATTOSECONDS["us"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READERS: Final[dict[tuple[str, str], Callable[[Any], Frame]]] = {
    ("pandas", "DataFrame"): _pandas,
    ("polars", "DataFrame"): _polars,
    ("polars", "LazyFrame"): _lazy,
    ("pyarrow", "Table"): _pyarrow,
    ("pyarrow", "RecordBatch"): _pyarrow,
}


# --- integers that count a unit ---


def _each(counts: Iterable[int | None], convert: Callable[[int], Any]) -> list[Any]:
    """Convert each distinct number once if numbers repeat, as instants often do."""
    counts = list(counts)
    different = set(counts)
    if len(different) > len(counts) // 2:
        return [None if count is None else convert(count) for count in counts]
    known = {count: None if count is None else convert(count) for count in different}
    return list(map(known.__getitem__, counts))


def _instants(counts: Iterable[int | None], unit: str, zone: tzinfo | None) -> list[str | None]:
    """Return counts since 1970 as ISO text, in a time zone or without one."""
    size = ATTOSECONDS[unit]
    times, parts = max(1, size // _MICROSECOND), max(1, _MICROSECOND // size)
    begin = _EPOCH if zone is not None else _EPOCH.replace(tzinfo=None)

    def convert(count: int) -> str:
        micros, finer = divmod(count * times, parts)
        if finer:
            return iso_text(count, unit, zone)
        try:
            moment = begin + timedelta(microseconds=micros)
            return moment.isoformat() if zone is None else moment.astimezone(zone).isoformat()
        except OverflowError:  # a year outside Python's range
            return iso_text(count, unit, zone)

    return _each(counts, convert)


def _clocks(counts: Iterable[int | None], unit: str) -> list[str | None]:
    """Return counts since midnight as ISO text."""
    return [None if text is None else text[11:] for text in _instants(counts, unit, None)]


def _lengths(counts: Iterable[int | None], unit: str) -> list[float | None]:
    """Return counts as seconds."""
    return _each(counts, lambda count: count * ATTOSECONDS[unit] / 10**18)
