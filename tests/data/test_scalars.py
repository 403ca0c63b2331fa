"""What values of numpy and pandas become. Both are tools of the tests only."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from pipeloom.data.values import adapt, adapt_params, adapt_rows, as_json

MISSING = [
    pd.NaT,
    pd.NA,
    np.ma.masked,
    np.ma.array([7.0], mask=[True])[0],
    np.datetime64("NaT"),
    np.datetime64("NaT", "ns"),
    np.timedelta64("NaT"),
    np.timedelta64("NaT", "Y"),
    np.float64("nan"),
    np.float32("nan"),
    np.float16("nan"),
    np.longdouble("nan"),
    np.array(np.nan),
    np.array("NaT", "datetime64[s]"),
]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: f"{type(value).__name__} {value!r}")
def test_what_is_missing_is_null(value):
    """In a row, beside values listed in ``null=``, in a parameter, and in JSON."""
    assert adapt(value) is None
    assert adapt_rows([("x", value), ("NA", "y")], "t", ("a", "b"), frozenset({"NA"})) == [("x", None), (None, "y")]
    assert adapt_params({"p": value}) == {"p": None}
    assert json.loads(as_json({"a": [value]})) == {"a": [None]}


def test_an_instant_is_the_same_text_in_every_unit():
    """As ``datetime.isoformat`` has it, to the day as to the attosecond."""
    for unit in ("Y", "M", "W", "D"):
        assert (unit, adapt(np.datetime64("2024-01-01", unit))[:3]) == (unit, "202")
        assert "T" not in adapt(np.datetime64("2024-01-01", unit)), "a date, as Python's own"
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        assert (unit, adapt(np.datetime64("2024-01-01", unit))) == (unit, "2024-01-01T00:00:00")
    for unit in ("s", "ms", "us", "ns"):
        assert adapt(np.datetime64("2024-02-29T23:59:58", unit)) == "2024-02-29T23:59:58"
    for unit in ("us", "ns", "ps"):
        assert adapt(np.datetime64("1970-01-02T23:59:58.0012", unit)) == "1970-01-02T23:59:58.001200"
    for unit in ("ns", "ps"):
        assert adapt(np.datetime64("1970-01-02T23:59:58.000000001", unit)) == "1970-01-02T23:59:58.000000001"
    assert adapt(np.datetime64("2024-01-04", "W")) == "2024-01-04"
    assert adapt(np.datetime64("2024-01-01T05", "25s")) == "2024-01-01T05:00:00"
    assert adapt(np.datetime64(1, "as")) == "1970-01-01T00:00:00.000000000000000001"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.datetime64("12024-02-29T01", "h"), "12024-02-29T01:00:00"),
        (np.datetime64(1_000_000_000, "Y"), "1000001970-01-01"),
        (np.datetime64("-0044-03-15"), "-0044-03-15"),
        (np.datetime64(-2000, "Y"), "-0030-01-01"),
        (np.datetime64("0001-01-01T00:00", "m"), "0001-01-01T00:00:00"),
    ],
    ids=str,
)
def test_an_instant_that_python_has_no_datetime_for_is_iso_text_too(value, text):
    """Rather than the bare number that ``.item()`` is."""
    assert adapt(value) == text


def test_an_instant_of_pandas_is_the_same_text():
    """With a time zone and without, whatever its unit."""
    moment = datetime(2024, 2, 29, 1, 2, 3, 4000)  # noqa: DTZ001
    assert adapt(pd.Timestamp(moment)) == adapt(np.datetime64(moment)) == adapt(moment)
    assert adapt(pd.Timestamp(moment.replace(tzinfo=UTC))) == adapt(moment.replace(tzinfo=UTC))
    fine = "2024-02-29T01:02:03.000000007"
    assert adapt(pd.Timestamp(fine)) == adapt(np.datetime64(fine)) == fine


@pytest.mark.parametrize("unit", ["W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"])
def test_a_length_of_time_is_its_seconds(unit):
    """As REAL, of every unit that is a fixed number of seconds."""
    one = {"W": 604_800, "D": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    seconds = {**one, "ps": 1e-12, "fs": 1e-15, "as": 1e-18}[unit]

    for count in (-3, 0, 1):
        got = adapt(np.timedelta64(count, unit))
        assert (got, type(got)) == (pytest.approx(count * seconds, rel=1e-15), float)
    assert adapt(np.timedelta64(7, f"25{unit}")) == pytest.approx(175 * seconds, rel=1e-15)


def test_a_length_of_time_loses_nothing_on_the_way():
    """It is rounded once, to the nearest float."""
    assert adapt(np.timedelta64(2**63 - 1, "ns")) == (2**63 - 1) / 10**9
    assert adapt(np.timedelta64(2**62, "W")) == float(2**62 * 604_800)
    assert adapt(pd.Timedelta("1s 1ns")) == 1.000000001
    assert adapt(pd.Timedelta(days=-1)) == adapt(timedelta(days=-1)) == -86_400.0


@pytest.mark.parametrize("unit", ["Y", "M", "generic"])
def test_a_length_of_time_that_is_not_fixed_is_refused(unit):
    """A month is not a number of seconds."""
    with pytest.raises(ValueError, match="no fixed length in seconds: convert it"):
        adapt(np.timedelta64(1, unit))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.bool_(True), 1),
        (np.uint64(2**63 - 1), 2**63 - 1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.1), 0.0999755859375),
        (np.str_("x"), "x"),
        (np.bytes_(b"x"), b"x"),
        (np.array(5), 5),
        (np.ma.array(5), 5),
    ],
    ids=repr,
)
def test_other_scalars_are_what_they_hold(value, plain):
    """Exactly, in a plain type."""
    assert (adapt(value), type(adapt(value))) == (plain, type(plain))


@pytest.mark.parametrize(
    "value",
    [
        np.longdouble("0.1"),
        np.complex64(1),
        np.uint64(2**63),
        np.array([1]),
        np.array([np.nan]),
        np.array([(1, 2)], "i4,i4")[0],
        pd.Period("2024-01"),
        pd.Interval(0, 1),
        pd.Series([1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_be_another_value_is_refused(value):
    """Here, rather than rounded."""
    with pytest.raises(ValueError, match=r"cannot be stored"):
        adapt(value)


def test_times_inside_json():
    """Are the same text, and seconds."""
    inside = [np.datetime64("2024-01-01T00:00", "ns"), pd.Timestamp("2024-01-01"), np.timedelta64(5, "ns")]

    assert json.loads(as_json(inside)) == ["2024-01-01T00:00:00", "2024-01-01T00:00:00", 5e-9]
