"""Frames of pandas, polars and pyarrow: each value is what it would be in a row of its own."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pipeloom.data.rows import blocks_from, blocks_of
from pipeloom.errors import RowRefusedError
from pipeloom.messages import MsgWriteRows

WINTER, SUMMER = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, 12, 0, 0, 5, tzinfo=UTC)
IN_BERLIN = ["2024-01-01T01:00:00+01:00", "2024-07-01T14:00:00.000005+02:00", None]
IN_UTC = ["2024-01-01T00:00:00+00:00", "2024-07-01T12:00:00.000005+00:00", None]
PLAIN = ["2024-01-01T00:00:00", "2024-07-01T12:00:00.000005", None]
NAIVE = [WINTER.replace(tzinfo=None), SUMMER.replace(tzinfo=None), None]
LENGTHS = [timedelta(days=-1), timedelta(microseconds=1), None]


def stored(frame):
    """Return what becomes of a frame's only column."""
    (block,) = blocks_of("t", frame)
    assert block.shape.columns == ("v",)
    return [value for (value,) in block.rows]


PANDAS = {
    "int64": (pd.Series([1, 2**53 + 1]), [1, 2**53 + 1]),
    "bool": (pd.Series([True, False]), [1, 0]),
    "float": (pd.Series([1.5, np.nan, np.inf]), [1.5, None, np.inf]),
    "float32": (pd.Series([0.1, np.nan], dtype="float32"), [0.10000000149011612, None]),
    "Int64": (pd.Series([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None]),
    "boolean": (pd.Series([True, None], dtype="boolean"), [1, None]),
    "Float64": (pd.Series([1.5, None], dtype="Float64"), [1.5, None]),
    "str": (pd.Series(["007", None, np.nan, "\xe4"]), ["007", None, None, "\xe4"]),
    "string": (pd.Series(["007", None], dtype="string"), ["007", None]),
    "object": (pd.Series([1, "1", 1.0, None, pd.NaT, pd.NA], dtype=object), [1, "1", 1.0, None, None, None]),
    "category": (pd.Series(["b", "a", None, "b"], dtype="category"), ["b", "a", None, "b"]),
    "category of int": (pd.Series([7, 7, None]).astype("Int64").astype("category"), [7, 7, None]),
    "category of dates": (pd.Series(pd.to_datetime(NAIVE)).astype("category"), PLAIN),
    "us": (pd.Series(NAIVE, dtype="datetime64[us]"), PLAIN),
    "ns": (pd.Series(NAIVE, dtype="datetime64[ns]"), PLAIN),
    "fine": (
        pd.Series(["1970-01-01T00:00:00.000000001"], dtype="datetime64[ns]"),
        ["1970-01-01T00:00:00.000000001"],
    ),
    "far": (pd.Series(np.array(["12024-02-29"], "datetime64[s]")), ["12024-02-29T00:00:00"]),
    "long ago": (pd.Series(np.array(["-0044-03-15"], "datetime64[s]")), ["-0044-03-15T00:00:00"]),
    "zone": (pd.Series([WINTER, SUMMER, None]).dt.tz_convert("Europe/Berlin"), IN_BERLIN),
    "UTC": (pd.Series([WINTER, SUMMER, None]), IN_UTC),
    "timedelta": (pd.Series(LENGTHS, dtype="timedelta64[ns]"), [-86400.0, 1e-6, None]),
    "arrow": (pd.Series([1, None], dtype=pd.ArrowDtype(pa.int64())), [1, None]),
    "arrow times": (pd.Series(NAIVE, dtype=pd.ArrowDtype(pa.timestamp("us"))), PLAIN),
    "arrow clock": (
        pd.Series([1, None], dtype=pd.ArrowDtype(pa.time64("ns"))),
        ["00:00:00.000000001", None],
    ),
    "arrow lists": (pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), ["[1]", None]),
    "date": (pd.Series([date(2024, 1, 1)]), ["2024-01-01"]),
    "lists": (pd.Series([[1, 2], None]), ["[1,2]", None]),
}
POLARS = {
    "Int64": (pl.Series([2**53 + 1, None]), [2**53 + 1, None]),
    "Float64": (pl.Series([1.5, None, float("nan")]), [1.5, None, None]),
    "String": (pl.Series(["007", None]), ["007", None]),
    "Boolean": (pl.Series([True, None]), [1, None]),
    "Categorical": (pl.Series(["b", "a", None], dtype=pl.Categorical), ["b", "a", None]),
    "Date": (pl.Series([date(2024, 1, 1), None]), ["2024-01-01", None]),
    "us": (pl.Series(NAIVE, dtype=pl.Datetime("us")), PLAIN),
    "ns": (pl.Series([1, None]).cast(pl.Datetime("ns")), ["1970-01-01T00:00:00.000000001", None]),
    "zone": (pl.Series([WINTER, SUMMER, None]).dt.convert_time_zone("Europe/Berlin"), IN_BERLIN),
    "Duration": (pl.Series(LENGTHS), [-86400.0, 1e-6, None]),
    "Time": (pl.Series([time(12, 30), None]), ["12:30:00", None]),
    "fine Time": (pl.Series([1]).cast(pl.Time), ["00:00:00.000000001"]),
    "Decimal": (pl.Series([Decimal("1.10"), None]), ["1.10", None]),
    "List": (pl.Series([[1, None], None]), ["[1,null]", None]),
    "Struct": (pl.Series([{"a": 1}, None]), ['{"a":1}', None]),
    "Binary": (pl.Series([b"\xff", None]), [b"\xff", None]),
}
ARROW = {
    "int64": (pa.array([2**53 + 1, None]), [2**53 + 1, None]),
    "double": (pa.array([1.5, None, float("nan")]), [1.5, None, None]),
    "halffloat": (pa.array([np.float16(1.5), None], pa.float16()), [1.5, None]),
    "string": (pa.array(["007", None]), ["007", None]),
    "dictionary": (pa.array(["b", "a", "b", None]).dictionary_encode(), ["b", "a", "b", None]),
    "date32": (pa.array([date(2024, 1, 1), None]), ["2024-01-01", None]),
    "us": (pa.array(NAIVE, pa.timestamp("us")), PLAIN),
    "ns": (pa.array([1, None], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001", None]),
    "zone": (pa.array([WINTER, SUMMER, None], pa.timestamp("us", "Europe/Berlin")), IN_BERLIN),
    "offset": (pa.array([WINTER], pa.timestamp("ns", "-05:30")), ["2023-12-31T18:30:00-05:30"]),
    "duration": (pa.array(LENGTHS, pa.duration("ns")), [-86400.0, 1e-6, None]),
    "time32": (pa.array([time(12, 30), None], pa.time32("s")), ["12:30:00", None]),
    "time64": (pa.array([1, None], pa.time64("ns")), ["00:00:00.000000001", None]),
    "decimal": (pa.array([Decimal("1.10"), None]), ["1.10", None]),
    "list": (pa.array([[1, None], None]), ["[1,null]", None]),
    "struct": (pa.array([{"a": [1]}, None]), ['{"a":[1]}', None]),
    "null": (pa.nulls(2), [None, None]),
    "binary": (pa.array([b"\xff", None]), [b"\xff", None]),
}


@pytest.mark.parametrize("kind", PANDAS)
def test_a_column_of_pandas(kind):
    """With every kind of missing value as NULL; the index is left out."""
    series, expected = PANDAS[kind]
    series.index = [7] * len(series)

    got = stored(pd.DataFrame({"v": series}))
    assert [(value, type(value)) for value in got] == [(value, type(value)) for value in expected]


@pytest.mark.parametrize("kind", POLARS)
def test_a_column_of_polars(kind):
    """To the nanosecond, which its own lists lose."""
    series, expected = POLARS[kind]

    got = stored(pl.DataFrame({"v": series}))
    assert [(value, type(value)) for value in got] == [(value, type(value)) for value in expected]


@pytest.mark.parametrize("kind", ARROW)
def test_a_column_of_pyarrow(kind):
    """In a table, of one piece or several, and in a batch."""
    array, expected = ARROW[kind]

    for frame in (pa.table({"v": array}), pa.record_batch({"v": array})):
        assert [(value, type(value)) for value in stored(frame)] == [(value, type(value)) for value in expected]
    assert stored(pa.concat_tables([pa.table({"v": array})] * 2)) == expected * 2


FRAMES = {
    "pandas": pd.DataFrame({"a": [1, 2], "b": ["x", "NA"]}),
    "polars": pl.DataFrame({"a": [1, 2], "b": ["x", "NA"]}),
    "table": pa.table({"a": [1, 2], "b": ["x", "NA"]}),
    "batch": pa.record_batch({"a": [1, 2], "b": ["x", "NA"]}),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=list(FRAMES))
def test_a_frame_is_rows(frame):
    """With every option, in a message too; without rows it writes nothing."""
    (block,) = blocks_of("t", frame)
    assert (block.shape.columns, block.rows) == (("a", "b"), [(1, "x"), (2, "NA")])
    (block,) = blocks_from(MsgWriteRows("t", frame, null=("NA", 7), on_conflict="update", conflict_on=("a",)))
    assert (block.shape.on_conflict, block.rows) == ("update", [(1, "x"), (2, None)])
    assert blocks_of("t", frame[:0]) == []
    with pytest.raises(RowRefusedError, match="omit columns="):
        blocks_of("t", frame, ["a", "b"])


def test_many_records_of_a_frame_are_rows():
    """``to_dict("records")`` and ``itertuples`` come to the same as the frame."""
    frame = pd.DataFrame({"a": [1, 2], "b": pd.to_datetime(["2024-01-01", None])})

    assert blocks_of("t", frame.to_dict("records")) == blocks_of("t", frame)
    assert blocks_of("t", frame.itertuples(index=False)) == blocks_of("t", frame)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pl.LazyFrame({"a": [1]}), r"no rows yet: pass frame\.collect\(\)"),
        (pd.DataFrame([[1, 2]]), "column name must be text, not int"),
        (pd.DataFrame([[1, 2]], columns=["a", "A"]), "occurs twice"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "occurs twice"),
        (pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]), "occurs twice"),
        (pd.DataFrame({"v": pd.period_range("2024-01", periods=2)}), "column v: a value of type Period"),
        (pd.DataFrame({"v": np.array([2**64 - 1], "uint64")}), "column v: an int over 64 bits"),
        (pd.DataFrame({"v": np.array([1j])}), "column v: a value of type complex"),
    ],
    ids=str,
)
def test_a_frame_that_cannot_be_stored_is_refused(frame, words):
    """In a sentence that names the table, and the column where there is one."""
    with pytest.raises(RowRefusedError, match=words):
        blocks_of("t", frame)
