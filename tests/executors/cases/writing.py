"""Cases that write rows; what they leave is judged in ``test_contract_rows``."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pipeloom
from executors.cases.registry import case

MIB = 2**20


class Colour(enum.Enum):
    RED = "r"


VALUES: dict[str, tuple[object, tuple[object, str]]] = {
    # what is written: what comes back, and its type
    "none": (None, (None, "null")),
    "nan": (float("nan"), (None, "null")),
    "true": (True, (1, "integer")),
    "zero": (0, (0, "integer")),
    "smallest": (-(2**63), (-(2**63), "integer")),
    "largest": (2**63 - 1, (2**63 - 1, "integer")),
    "float": (0.1 + 0.2, (0.1 + 0.2, "real")),
    "whole": (3.0, (3.0, "real")),
    "tiny": (5e-324, (5e-324, "real")),
    "infinite": (float("-inf"), (float("-inf"), "real")),
    "digits": ("007", ("007", "text")),
    "exponent": ("1e3", ("1e3", "text")),
    "empty": ("", ("", "text")),
    "unicode": ("žluťoučký 🐎\n\t", ("žluťoučký 🐎\n\t", "text")),
    "NUL": ("a\x00b", ("a\x00b", "text")),
    "bytes": (b"\x00\xff", (b"\x00\xff", "blob")),
    "no bytes": (b"", (b"", "blob")),
    "bytearray": (bytearray(b"ab"), (b"ab", "blob")),
    "date": (date(2026, 1, 2), ("2026-01-02", "text")),
    "datetime": (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), ("2026-01-02T03:04:00+00:00", "text")),
    "time": (time(3, 4), ("03:04:00", "text")),
    "timedelta": (timedelta(minutes=1.5), (90.0, "real")),
    "decimal": (Decimal("1.10"), ("1.10", "text")),
    "uuid": (UUID(int=1), ("00000000-0000-0000-0000-000000000001", "text")),
    "path": (Path("a/b"), ("a/b", "text")),
    "enum": (Colour.RED, ("r", "text")),
    "json": ({"a": [1, date(2026, 1, 2), float("nan")]}, ('{"a":[1,"2026-01-02",null]}', "text")),
}


@case
def values(ctx):
    for name, (value, _) in VALUES.items():
        ctx.write("values_", {"case": name, "value": value})


class Pair(NamedTuple):
    a: int
    b: str


@dataclass
class Record:
    a: int
    b: str


@case
def shapes(ctx):
    ctx.write("shapes", {"a": 1, "b": "mapping"})
    ctx.write("shapes", Pair(2, "named tuple"))
    ctx.write("shapes", [Record(3, "dataclass")])
    ctx.write("shapes", ((4 + n, "sequence") for n in range(2)), columns=("a", "b"))
    ctx.write("shapes", [{"a": 6}, {"b": "alone"}])
    ctx.write("shapes", [])
    ctx.write("shapes", {"a": 7, "b": "NA"}, null=("NA",))


@case
def unstorable(ctx):
    refused = []
    for value in (2**63, "\ud800", (1, 2), object()):
        try:
            ctx.write("left", {"case": "unstorable", "value": value})
        except pipeloom.RowRefusedError as error:
            refused.append(str(error))
    return refused


@case
def many_rows(ctx):
    ctx.write(
        "many",
        [(n, n / 7, f"text {n}", None if n % 3 else n, b"%d" % n) for n in range(3000)],
        columns=tuple("abcde"),
    )


@case
def large(ctx):
    for n in range(18):
        ctx.write("large", {"n": n, "body": bytes([n]) * MIB})
        ctx.write("large_seen", {"n": n})


@case
def too_large(ctx):
    for _ in range(10):
        ctx.write("left", {"case": "too_large", "body": bytes(4 * MIB)})


@case
def declared(ctx):
    ctx.write("declared", {"n": "7", "x": "0.5", "t": 7})


@case
def declared_refused(ctx):
    ctx.write("left", {"case": "declared_refused"})
    ctx.write("declared", {"n": "seven", "x": 1, "t": "a"})


@case
def alters(ctx):
    ctx.write("grown", {"a": 1})
    ctx.write("grown", {"a": 2, "b": "x"}, alter=True)
    ctx.write("grown", {"c": 0.5}, alter=True)


@case
def lacks_a_column(ctx):
    ctx.write("stock", {"sku": "new", "n": 1, "colour": "red"})


@case
def conflict_ignored(ctx):
    ctx.write(
        "stock", [{"sku": "seed", "n": 99}, {"sku": "ignored", "n": 1}], on_conflict="ignore", conflict_on=("sku",)
    )


@case
def conflict_updated(ctx):
    ctx.write("stock", [{"sku": "old", "n": 2}, {"sku": "old", "n": 3}], on_conflict="update", conflict_on=("sku",))


@case
def conflict_refused(ctx):
    ctx.write("left", {"case": "conflict_refused"})
    ctx.write("stock", [{"sku": "first of two", "n": 1}, {"sku": "seed", "n": 1}])


@case
def not_null_refused(ctx):
    ctx.write("left", {"case": "not_null_refused"})
    ctx.write("stock", [{"sku": f"null {n}", "n": n if n < 500 else None} for n in range(1000)])


@case
def check_refused(ctx):
    ctx.write("stock", {"sku": "negative", "n": -1})


@case
def statements(ctx):
    ctx.write("steps", {"n": 1})
    ctx.execute("INSERT INTO steps SELECT COUNT(*) + 10 FROM steps")
    ctx.write("steps", {"n": 2})
    ctx.execute("UPDATE steps SET n = n + :more", {"more": 100})


@case
def statement_refused(ctx):
    ctx.write("left", {"case": "statement_refused"})
    ctx.execute("DELETE FROM task_runs")


@case
def statement_wrong(ctx):
    ctx.execute("INSERT INTO nowhere VALUES (1)")
