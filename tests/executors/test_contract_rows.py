"""Rows and results, on every executor."""

from __future__ import annotations

import pytest

from executors.cases.writing import MIB, VALUES


def test_every_value_comes_back_as_it_was_written(ran):
    """Value and type, of all kinds."""
    found = ran.rows('SELECT "case", value, typeof(value) FROM values_')

    assert {case: (value, kind) for case, value, kind in found} == {
        case: back for case, (_, back) in VALUES.items()
    }
    assert ran.task("values", "status, rows_written") == ("done", len(VALUES))


def test_rows_of_every_shape_are_written_in_their_order(ran):
    """Mappings, records, sequences with columns, rows that lack a column, and none at all."""
    assert ran.rows("SELECT a, b FROM shapes ORDER BY rowid") == [
        (1, "mapping"), (2, "named tuple"), (3, "dataclass"), (4, "sequence"), (5, "sequence"), (6, None),
        (None, "alone"), (7, None),
    ]  # fmt: skip


def test_what_cannot_be_stored_is_refused_at_the_call(ran):
    """The task hears it, and is free to go on."""
    said = ran.result("unstorable")

    assert len(said) == 4
    assert all(sentence.startswith("table left, column value: ") for sentence in said)


def test_many_rows_of_one_call_are_all_there(ran):
    """More than would be sent one by one."""
    found = ran.rows("SELECT a, b, c, d, e FROM many ORDER BY rowid")

    assert found == [(n, n / 7, f"text {n}", None if n % 3 else n, b"%d" % n) for n in range(3000)]
    assert ran.task("many_rows", "rows_written") == (3000,)


def test_an_output_larger_than_memory_should_hold_is_whole(ran):
    """18 MiB in two tables: they came by way of a file."""
    assert ran.rows("SELECT n, length(body), substr(body, -1) FROM large ORDER BY rowid") == [
        (n, MIB, bytes([n])) for n in range(18)
    ]
    assert ran.rows("SELECT n FROM large_seen ORDER BY rowid") == [(n,) for n in range(18)]


def test_too_large_an_output_fails_its_task(ran):
    """``max_task_mb`` holds, and its sentence says what to do."""
    failure = ran.failure("too_large")

    assert failure.exception == "TaskTooLargeError"
    assert "max_task_mb=24" in failure.message


def test_a_declared_type_converts(ran):
    """As with any executor."""
    assert ran.rows("SELECT n, x, t FROM declared") == [(7, 0.5, "7")]


def test_a_table_grows_where_it_is_asked_to(ran):
    """With ``alter=True``."""
    assert ran.rows("SELECT a, b, c FROM grown ORDER BY rowid") == [
        (1, None, None),
        (2, "x", None),
        (None, None, 0.5),
    ]


def test_conflicts_are_dealt_with_as_asked(ran):
    """Ignored, updated; what else is in the table is left alone."""
    found = dict(ran.rows("SELECT sku, n FROM stock WHERE sku <> 'staged'"))

    assert found == {"seed": 1, "old": 3, "ignored": 1}


def test_statements_run_in_order_with_rows(ran):
    """Each sees what was written before it."""
    assert ran.rows("SELECT n FROM steps ORDER BY rowid") == [(101,), (111,), (102,)]


@pytest.mark.parametrize(
    ("case", "exception", "said"),
    [
        ("declared_refused", "RowRefusedError", "'seven' cannot be stored as int"),
        ("lacks_a_column", "RowRefusedError", "has no column colour"),
        ("conflict_refused", "IntegrityError", "UNIQUE constraint failed: stock.sku"),
        ("not_null_refused", "IntegrityError", "NOT NULL constraint failed: stock.n"),
        ("check_refused", "IntegrityError", "CHECK constraint failed: n >= 0"),
        ("statement_refused", "DatabaseError", "task_runs belongs to the ledger"),
        ("statement_wrong", "OperationalError", "no such table: nowhere"),
    ],
)
def test_a_refused_row_fails_its_task_alone(ran, case, exception, said):
    """It is told as the task's error, and nothing of its output is stored; see also the tests above."""
    failure = ran.failure(case)

    assert (failure.exception, failure.attempt) == (exception, 1)
    assert said in failure.message
    assert ran.task(case, "status, rows_written") == ("error", 0)
    assert said in ran.task(case, "error")[0]


def test_nothing_is_left_of_a_failed_try(ran):
    """Every case that fails has written a row here first."""
    assert ran.rows('SELECT "case" FROM "left"') == []


def test_results_come_back(ran):
    """As JSON, however long."""
    assert ran.result("returns_much") == {
        "list": [1, 2.5, None, True], "nested": {"é": "🐎"}, "date": "2026-01-02", "long": "x" * 200_000,
    }  # fmt: skip
    assert ran.result("returns_nothing") is None


@pytest.mark.parametrize(
    ("case", "exception", "said"),
    [
        ("returns_what_is_no_json", "ValueError", "cannot be stored as JSON"),
        ("returns_a_generator", "TypeError", "a generator whose code has not run"),
        ("returns_a_coroutine", "TypeError", "a coroutine whose code has not run"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_its_task(ran, case, exception, said):
    """It neither hangs nor takes others along."""
    failure = ran.failure(case)

    assert failure.exception == exception
    assert said in failure.message
