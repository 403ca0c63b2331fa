"""What a report asks of the run that it came from: results on file, and the error to raise."""

from __future__ import annotations

import pickle
import sqlite3
import traceback
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from uuid import UUID

import pytest

import pipeloom
from pipeloom.db import connect_readonly


def halved(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def test_a_report_that_was_sent_on_still_reads_the_ledger(db):
    """Through pickle, alone or within the error that holds it; nothing of it is lost."""
    with pytest.raises(pipeloom.TasksFailedError) as failed:
        pipeloom.map(halved, [1, 2, 4], db=db)
    report = failed.value.report
    error = pickle.loads(pickle.dumps(failed.value))

    for again in (error.report, pickle.loads(pickle.dumps(report))):
        assert again == report
        assert type(again) is pipeloom.RunReport
        assert repr(again) == repr(report)
        assert dict(again.results()) == {2: 1, 4: 2}
        with pytest.raises(pipeloom.TasksFailedError, match="1 of 3 tasks failed: ValueError: 1 is odd") as raised:
            again.raise_for_failures()
        assert raised.value.report is again
        assert [str(part) for part in raised.value.exceptions] == ["1 is odd"]


def test_errors_that_workers_report_are_raised_by_what_they_said(db):
    """Nothing was raised in the run; whoever asks gets one exception for each, and the way to all of them."""

    def worker(number, messages):
        messages.put(pipeloom.MsgTaskFinished(number, "error", "2026-01-31T12:00:00+00:00", message="no luck"))

    report = pipeloom.run_pipeline([1, 2], db, worker_fn=worker, progress=False)

    assert not report.has_exceptions
    with pytest.raises(pipeloom.TasksFailedError, match=r"2 of 2 tasks failed.*pipeloom errors --db") as raised:
        report.raise_for_failures()
    assert {str(part) for part in raised.value.exceptions} == {"task 1: no luck", "task 2: no luck"}


def test_a_run_without_failures_raises_nothing(db):
    """However often it is asked."""
    pipeloom.map(halved, [2], db=db).raise_for_failures()


def test_large_results_are_read_a_few_at_a_time(db, monkeypatch):
    """A page of a thousand could be more than memory holds. They are all there, and in order."""
    report = pipeloom.map(lambda n: str(n) * 100, range(30), db=db, name="large")
    opened = []
    monkeypatch.setattr("pipeloom.engine.report._PAGE_SIZE", 1000)
    monkeypatch.setattr(
        "pipeloom.engine.report.connect_readonly", lambda path: opened.append(1) or connect_readonly(path)
    )

    assert [result for _, result in report.results()] == [str(n) * 100 for n in range(30)]
    assert len(opened) > 4


def test_results_without_a_ledger_say_what_is_missing(db):
    """The file, or the ledger in it."""
    report = pipeloom.run_pipeline([2], db, worker_fn=lambda *_: None, store_task_status=False, progress=False)

    with pytest.raises(pipeloom.StorageError, match="store_task_status=True"):
        report.results()


@dataclass(frozen=True)
class Page:
    """An input of a class of the caller's own."""

    site: str
    number: int


INPUTS = [
    "text", "path:text", "x" * 600, 7, -(2**70), Path("a/b"), UUID(int=5), date(2026, 1, 31),
    datetime(2026, 1, 31, 12, 5),  # noqa: DTZ001 - a key of a user's may be naive
    (2, 3), ("a", (Path("b"), None)), Page("s", 1), (Page("s", 2), 1.5),
]  # fmt: skip


def told(item):
    if item in ([1], 7):
        raise ValueError("not this one")
    return repr(item)


def test_results_are_told_by_their_inputs(db, read):
    """In the order of the call's inputs, whenever they were done; equal to what was given, failures too."""
    report = pipeloom.map(told, [*INPUTS, [1], {"b": [2], "a": 1}], db=db, on_error="collect")
    good = [item for item in INPUTS if item != 7]

    assert list(report.results()) == [(item, repr(item)) for item in [*good, {"b": [2], "a": 1}]]
    assert sorted((failure.key for failure in report.failures), key=repr) == [7, [1]]  # in any order: two workers
    assert pickle.loads(pickle.dumps(report)).failures == report.failures
    again = pipeloom.map(told, ["new", *reversed(good)], db=db)
    assert (again.done, again.skipped) == (1, len(good))
    assert list(again.results()) == [(item, repr(item)) for item in ["new", *reversed(good)]]
    assert len(list(again.results(everything=True))) == len(good) + 2
    # Only for what the key itself does not say.
    assert read(db, "SELECT COUNT(*), COUNT(input) FROM task_runs") == [(len(INPUTS) + 3, 7)]


def test_results_of_many_inputs_are_read_by_the_page(db):
    """The same from a call that did them and one that skipped them; some of them in another order."""
    numbers = list(range(2500))
    done = pipeloom.map(abs, numbers, db=db)
    skipped = pipeloom.map(abs, [*numbers[::-1], 3000], db=db)

    assert list(done.results()) == [(n, n) for n in numbers]
    assert list(skipped.results()) == [(n, n) for n in [*numbers[::-1], 3000]]


def test_inputs_of_earlier_versions_are_told_by_their_key(db):
    """Until they are run again."""
    pipeloom.map(told, [(2, 3)], db=db)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("UPDATE task_runs SET input = NULL")
        conn.commit()
    skipped = pipeloom.map(told, [(2, 3)], db=db)
    ((key, _),) = skipped.results()
    redone = pipeloom.map(told, [(2, 3)], db=db, resume=False)

    assert key.startswith("json:")
    assert dict(redone.results()) == {(2, 3): "(2, 3)"}


def fails_in_two_ways(number):
    """Say a code, or miss a key."""
    if number % 10 == 1:
        raise ValueError(f"HTTP 503 for page {number}")
    return {}["price"] if number % 20 == 2 else number


def test_the_exception_says_how_many_failed_in_which_way(db):
    """One of a kind stands for all, but for rare ones; what it prints is short, whatever failed."""
    with pytest.raises(pipeloom.TasksFailedError) as raised:
        pipeloom.map(fails_in_two_ways, range(100), db=db, progress=False, workers=1)
    report = raised.value.report
    message = raised.value.message.splitlines()

    assert message[0] == "15 of 100 tasks failed, in 2 ways:"
    assert message[1].startswith("  10 \N{MULTIPLICATION SIGN} ValueError: HTTP 503 for page … (test_report.py:")
    assert message[1].endswith(" in fails_in_two_ways; first 1, last 91)")
    assert message[2].startswith("  5 \N{MULTIPLICATION SIGN} KeyError: 'price' (test_report.py:")
    assert message[3].startswith("all of them: pipeloom errors --db ")
    assert [str(error) for error in raised.value.exceptions] == ["HTTP 503 for page 1", *["'price'"] * 5]
    assert [(kind.count, kind.exception, kind.first.key, kind.last) for kind in report.kinds] == [
        (10, "ValueError", 1, 91),
        (5, "KeyError", 2, 82),
    ]
    assert len("".join(traceback.format_exception(raised.value)).splitlines()) < 45


def test_kinds_are_counted_without_a_ledger(db):
    """For the report; the file has the caller's own tables only."""
    report = pipeloom.run_pipeline(
        range(7),
        db,
        worker_fn=lambda n, ctx: 1 / (n % 2),
        store_task_status=False,
        on_error="collect",
        progress=False,
    )

    assert [(kind.count, kind.exception) for kind in report.kinds] == [(4, "ZeroDivisionError")]
