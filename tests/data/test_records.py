"""Rows of the usual kinds: each is its names and values, alone or as one of many."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict, UserDict
from contextlib import closing
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import attrs
import msgspec
import pandas as pd
import pydantic
import pydantic.v1
import pytest

from pipeloom.data.rows import blocks_of
from pipeloom.errors import RowRefusedError


@dataclass(slots=True)
class Data:
    a: int
    b: str = field(default="x", repr=False)
    c: ClassVar[int] = 3


class Named(NamedTuple):
    a: int
    b: str = "x"


@attrs.define
class Attrs:
    a: int
    b: str = "x"


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int
    b: str = "x"


class OldModel(pydantic.v1.BaseModel):
    a: int
    b: str = "x"


class Struct(msgspec.Struct):
    a: int
    b: str | msgspec.UnsetType = "x"


class Keyed:
    """Has no more than ``keys()`` and ``[]``."""

    def keys(self):
        return ["a", "b"]

    def __getitem__(self, name):
        return {"a": 1, "b": "x"}[name]


def from_sqlite(sql):
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.row_factory = sqlite3.Row
        return conn.execute(sql).fetchone()


ROWS = [
    Data(1),
    Named(1),
    Attrs(1),
    attrs.make_class("Older", ["a", "b"])(1, "x"),
    Model(a=1),
    OldModel(a=1),
    Struct(1),
    OrderedDict(a=1, b="x"),
    UserDict(a=1, b="x"),
    Keyed(),
    from_sqlite("SELECT 1 AS a, 'x' AS b"),
    pd.Series({"a": 1, "b": "x"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_record_is_a_row(row):
    """Alone, as one of many, and beside rows of another kind."""
    for rows in (row, [row], iter([row])):
        (block,) = blocks_of("t", rows)
        assert (block.shape.columns, block.rows) == (("a", "b"), [(1, "x")])
    (block,) = blocks_of("t", [{"a": 0, "b": ""}, row, row, {"b": "y", "a": 2}])
    assert block.rows == [(0, ""), (1, "x"), (1, "x"), (2, "y")]


def test_a_model_of_pydantic_has_what_it_dumps():
    """Extras, computed fields and nested models; of the first version too."""

    class Deep(pydantic.BaseModel):
        inner: Model

        @pydantic.computed_field
        @property
        def twice(self) -> int:
            return 2 * self.inner.a

    (block,) = blocks_of("t", [Model(a=1, z=None)])
    assert (block.shape.columns, block.rows) == (("a", "b", "z"), [(1, "x", None)])
    (block,) = blocks_of("t", Deep(inner=Model(a=1)))
    assert (block.shape.columns, block.rows) == (("inner", "twice"), [('{"a":1,"b":"x"}', 2)])


def test_what_a_struct_does_not_have_is_left_out():
    """``msgspec.UNSET`` says that there is no such field."""
    blocks = blocks_of("t", [Struct(1, msgspec.UNSET), Struct(2, "y")])

    assert [(block.shape.columns, block.rows) for block in blocks] == [(("a",), [(1,)]), (("a", "b"), [(2, "y")])]


@pytest.mark.parametrize(
    "row", [from_sqlite("SELECT 1 AS a, 2 AS a"), pd.Series([1, 2], ["a", "a"])], ids=["sqlite3", "pandas"]
)
@pytest.mark.parametrize("before", [[], [{"a": 1}]], ids=["alone", "behind another"])
def test_a_name_that_comes_twice_is_refused(row, before):
    """Rather than one of its values lost."""
    with pytest.raises(RowRefusedError, match="column a occurs twice"):
        blocks_of("t", [*before, row])


@pytest.mark.parametrize(
    "row", [Data, Named, Attrs, Model, Struct, (1, 2), {1}, "ab", b"ab", object(), None, range(2)]
)
def test_what_has_no_named_values_is_not_a_row(row):
    """A class of rows least of all; the sentence says what it is."""
    with pytest.raises(RowRefusedError, match=f"a row must be .*not {type(row).__name__}"):
        blocks_of("t", [row])
