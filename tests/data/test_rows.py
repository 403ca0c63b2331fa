"""What one call to ``write`` becomes: checked and copied at the call, or refused whole."""

from __future__ import annotations

import dataclasses
from collections import ChainMap, OrderedDict
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeloom.data.rows import Block, Shape, blocks_from, blocks_of
from pipeloom.errors import RowRefusedError
from pipeloom.messages import MsgWriteRows

property_test = settings(database=None, deadline=None, max_examples=100)


@dataclasses.dataclass
class Flight:
    carrier: str
    delay: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slim:
    n: int


class Frame:
    """Looks like a data frame: iterating gives column names, not rows."""

    columns = ("a", "b")

    def __iter__(self):
        return iter(self.columns)


def names_and_rows(*args, **kwargs):
    """Return the two things that matter of the one block that there is."""
    (block,) = blocks_of("t", *args, **kwargs)
    assert block.shape.table == "t"
    return block.shape.columns, block.rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"a": 1, "b": 2}, [(1, 2)]),
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], [(1, 2), (3, 4)]),
        (({"a": n, "b": n} for n in range(2)), [(0, 0), (1, 1)]),
        ([{"a": 1, "b": 2}, {"b": 4, "a": 3}], [(1, 2), (3, 4)]),
        (MappingProxyType({"a": 1, "b": 2}), [(1, 2)]),
        ([OrderedDict(a=1, b=2), ChainMap({"a": 3, "b": 4})], [(1, 2), (3, 4)]),
    ],
    ids=["mapping", "list", "generator", "other order", "read-only mapping", "other mappings"],
)
def test_mappings_become_rows(rows, expected):
    """One mapping or many, of any kind; the first one sets the order."""
    assert names_and_rows(rows) == (("a", "b"), expected)


def test_a_row_writes_the_columns_that_it_has():
    """Rows with the same keys that follow each other are one block; their columns are in the order of the first."""
    rows = [{"a": 1}, {"a": 2, "b": 2}, {"b": 3, "a": 3}, {"a": 4}, {"a": None}, {"b": 5, "a": 5}, {"c": 6}]

    assert [(block.shape.columns, block.rows) for block in blocks_of("t", rows)] == [
        (("a",), [(1,)]),
        (("a", "b"), [(2, 2), (3, 3)]),
        (("a",), [(4,), (None,)]),
        (("a", "b"), [(5, 5)]),
        (("c",), [(6,)]),
    ]


def test_names_that_differ_in_case_only_are_two_rows_columns():
    """Which SQLite takes for one column; within one row they are refused."""
    assert [block.rows for block in blocks_of("t", [{"a": 1}, {"A": 2}])] == [[(1,)], [(2,)]]


def test_dataclasses_become_rows():
    """One or many, with slots or without; their fields are the columns."""
    assert names_and_rows(Flight("UA", 3)) == (("carrier", "delay"), [("UA", 3)])
    assert names_and_rows([Flight("UA"), Flight("AA", 1)]) == (("carrier", "delay"), [("UA", None), ("AA", 1)])
    assert names_and_rows([Slim(1), {"n": 2}]) == (("n",), [(1,), (2,)])


@pytest.mark.parametrize("rows", [[(1, "x"), (2, "y")], [[1, "x"], [2, "y"]], iter([(1, "x"), (2, "y")])])
def test_sequences_need_columns(rows):
    """With ``columns`` tuples and lists are rows; without, the sentence says so."""
    assert names_and_rows(rows, ["n", "s"]) == (("n", "s"), [(1, "x"), (2, "y")])
    with pytest.raises(RowRefusedError, match="columns="):
        blocks_of("t", [(1, "x")])


@pytest.mark.parametrize(
    "rows", [[], (), iter([]), ({} for _ in range(0))], ids=["list", "tuple", "iterator", "generator"]
)
def test_no_rows_are_no_error(rows):
    """A file without a line writes nothing; 0 rows are as good as n."""
    assert blocks_of("t", rows) == []


def test_no_rows_with_columns_or_a_conflict_rule_are_no_error():
    """As without."""
    assert blocks_of("t", [], ("a",)) == []
    assert blocks_of("t", [], on_conflict="update", conflict_on=["a"]) == []


def test_what_was_written_is_copied():
    """Lists, dicts and buffers that the caller goes on using do not change what is staged."""
    row, nested, buffer, tuples = {"a": 1}, [1], bytearray(b"x"), [[1, 2]]
    calls = [
        blocks_of("t", [row]),
        blocks_of("t", row),
        blocks_of("t", {"a": nested}),
        blocks_of("t", {"a": buffer}),
        blocks_of("t", tuples, ("a", "b")),
    ]
    row["a"], row["b"] = 9, 9
    nested.append(2)
    buffer[0] = 0
    tuples[0][0] = 9
    tuples.append([3, 4])

    assert [block.rows for (block,) in calls] == [[(1,)], [(1,)], [("[1]",)], [(b"x",)], [(1, 2)]]


def test_what_the_iterable_raises_comes_through():
    """It is the caller's own error, as it was raised."""

    def broken():
        yield {"a": 1}
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        blocks_of("t", broken())


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ("text", None, "not str"),
        (b"bytes", None, "not bytes"),
        (7, None, "not int"),
        (None, None, "not NoneType"),
        (Flight, None, "not type"),
        (Frame(), None, "not Frame"),
        ([7], None, "not int"),
        (["text"], None, "not str"),
        ([Flight], None, "not type"),
        ({}, None, "at least one column"),
        ([(1,)], (), "at least one column"),
        ({7: 1}, None, "column name must be text"),
        ({"": 1}, None, "column name"),
        ({"a\0": 1}, None, "column name"),
        ({"a\ud800": 1}, None, "column name"),
        ({"a": 1, "A": 2}, None, "twice"),
        ([{"a": 1}, {}], None, "at least one column"),
        ([(1, 2)], ("a", "a"), "twice"),
        ([(1, 2)], ("a",), "2 values for 1 columns"),
        ([(1, 2), (1,)], ("a", "b"), "1 values for 2 columns"),
        ([(1,)], "a", "not one string"),
        ([{"a": 1}], ("a",), "not dict"),
        ({"a": 1}, ("a",), "not dict"),
        (["x"], ("a",), "not str"),
        ([{1}], ("a",), "not set"),
        (7, ("a",), "not int"),
        ([(1,)], (7,), "column name must be text"),
    ],
    ids=lambda value: "a frame" if isinstance(value, Frame) else repr(value),
)  # fmt: skip
def test_what_are_no_rows_is_refused(rows, columns, words):
    """In one harmless sentence that says what they are."""
    with pytest.raises(RowRefusedError, match=words) as refused:
        blocks_of("t", rows, columns)

    assert str(refused.value).isprintable()


def test_names_that_sql_tells_apart_are_two_columns():
    """SQLite ignores the case of the letters A to Z only."""
    assert names_and_rows({"é": 1, "É": 2}) == (("é", "É"), [(1, 2)])
    assert names_and_rows({"ss": 1, "ß": 2}) == (("ss", "ß"), [(1, 2)])


def test_the_ledgers_own_tables_are_refused():
    """By name, before anything reaches the database."""
    for table in ("task_runs", "TASK_RUNS", "pipeloom_x", "sqlite_master"):
        with pytest.raises(RowRefusedError, match="ledger's own"):
            blocks_of(table, {"a": 1})


def test_what_cannot_be_a_table_is_refused():
    """In a sentence that can be shown."""
    for table in ("", "a\0b", "\x1b\0", "\ud800", None, 7):
        with pytest.raises(RowRefusedError, match="table name") as refused:
            blocks_of(table, {"a": 1})
        assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_conflict": "replace"}, "on_conflict must be"),
        ({"on_conflict": None}, "on_conflict must be"),
        ({"on_conflict": "update"}, "needs conflict_on"),
        ({"on_conflict": "update", "conflict_on": "a"}, "not one string"),
        ({"on_conflict": "update", "conflict_on": ("z",)}, "column z: row 1 lacks this column"),
        ({"conflict_on": ("a",)}, "needs on_conflict"),
        ({"on_conflict": "update", "conflict_on": (7,)}, "column names"),
        ({"alter": None}, "alter must be"),
        ({"alter": 1}, "alter must be"),
    ],
    ids=repr,
)
def test_a_conflict_rule_is_checked_at_the_call(options, words):
    """What can only be a mistake is not left for the database to find."""
    with pytest.raises(RowRefusedError, match=words):
        blocks_of("t", {"a": 1}, **options)


def test_a_conflict_rule_is_part_of_the_shape():
    """Rows of one shape go into one statement, so the rule tells shapes apart."""
    (block,) = blocks_of("t", {"a": 1, "b": 2}, on_conflict="update", conflict_on=["a"])
    (ignoring,) = blocks_of("t", {"a": 1}, on_conflict="ignore")
    (altering,) = blocks_of("t", {"a": 1}, alter=True)

    assert block == Block(Shape("t", ("a", "b"), "update", ("a",)), [(1, 2)])
    assert ignoring.shape == Shape("t", ("a",), "ignore", ())
    assert altering.shape == Shape("t", ("a",), "error", (), alter=True)
    assert len({altering.shape, ignoring.shape, blocks_of("t", {"a": 1})[0].shape}) == 3


@pytest.mark.parametrize("rule", ["update", "ignore"])
@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([{"a": 1, "b": 1}, {"a": 1, "b": None}], {}, "column b: row 2 has NULL"),
        ([{"a": 1, "b": 1}, {"a": 1, "b": float("nan")}], {}, "column b: row 2 has NULL"),
        ([{"a": 1, "b": 1}, {"a": 1}, {"b": 1}], {}, "column b: row 2 lacks this column"),
        ([{"a": 1, "b": 1}] * 3 + [{"a": "", "b": 1, "c": 1}], {"null": [""]}, "column a: row 4 has NULL"),
        ({"a": None, "b": 1}, {}, "column a: row 1 has NULL"),
        ([(1, 2), (1, None)], {"columns": ("A", "B")}, "column b: row 2 has NULL"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_null_in_a_column_of_conflict_on_is_refused(rule, rows, options, words):
    """It is never in conflict, so that such a row would double at each run."""
    with pytest.raises(RowRefusedError, match=f"table t, {words}"):
        blocks_of("t", rows, on_conflict=rule, conflict_on=["a", "b"], **options)
    assert blocks_of("t", rows, on_conflict="ignore", **options)


def test_a_column_of_conflict_on_is_found_in_any_case():
    """As SQL finds it."""
    (block,) = blocks_of("t", {"Id": 1, "v": 2}, on_conflict="update", conflict_on=["ID"])
    assert block.shape.conflict_on == ("ID",)


def test_null_values_become_null():
    """In mappings as in sequences."""
    assert names_and_rows({"a": "NA", "b": ""}, null=("", "NA"))[1] == [(None, None)]
    assert names_and_rows([("NA", 1)], ("a", "b"), null=["NA"])[1] == [(None, 1)]


@pytest.mark.parametrize("null", ["NA", ""])
def test_null_is_a_sequence_and_not_one_string(null):
    """Letter by letter it would turn "N" and "A" into NULL; as with ``columns`` and ``conflict_on``."""
    with pytest.raises(RowRefusedError, match="null"):
        blocks_of("t", [{"a": "N"}], null=null)


def test_a_message_is_read_as_the_call_is():
    """``MsgWriteRows`` has the same meaning, argument by argument."""
    message = MsgWriteRows("t", [("NA", 1)], ("a", "b"), ("NA",), "update", ("b",))

    assert blocks_from(message) == [Block(Shape("t", ("a", "b"), "update", ("b",)), [(None, 1)])]
    assert blocks_from(message, alter=True)[0].shape.alter
    assert not blocks_from(MsgWriteRows("t", {"a": 1}, alter=False), alter=True)[0].shape.alter
    assert blocks_from(MsgWriteRows("t", {"a": 1}, alter=True))[0].shape.alter
    with pytest.raises(RowRefusedError, match="ledger's own"):
        blocks_from(MsgWriteRows("task_runs", {"id": 1}))


columns = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1)
values = st.none() | st.integers(-5, 5) | st.sampled_from(["", "NA", "x"])
mappings = columns.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(names, values)))


@given(st.lists(mappings, min_size=1, max_size=6))
@property_test
def test_every_cell_is_where_it_belongs(rows):
    """Whatever keys each mapping has: as many rows, in their order, every value under its name and no other."""
    blocks = blocks_of("t", iter(rows))

    cells = [dict(zip(block.shape.columns, row, strict=True)) for block in blocks for row in block.rows]
    assert cells == rows
    assert all(one.shape.columns != other.shape.columns for one, other in pairwise(blocks))


@given(st.lists(mappings, min_size=1, max_size=6))
@property_test
def test_mappings_and_sequences_say_the_same(rows):
    """The same table comes from tuples with ``columns`` as from mappings with all keys."""
    names = sorted(set().union(*rows))
    whole = [{name: row.get(name) for name in names} for row in rows]

    assert blocks_of("t", whole) == blocks_of("t", [tuple(row.values()) for row in whole], names)
