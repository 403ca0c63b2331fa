"""What a report asks of the run that it came from: results on file, and the error to raise."""

from __future__ import annotations

import pickle

import pytest

import pipeloom


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


def test_results_without_a_ledger_say_what_is_missing(db):
    """The file, or the ledger in it."""
    report = pipeloom.run_pipeline([2], db, worker_fn=lambda *_: None, store_task_status=False, progress=False)

    with pytest.raises(pipeloom.StorageError, match="store_task_status=True"):
        report.results()
