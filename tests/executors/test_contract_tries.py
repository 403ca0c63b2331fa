"""Tries, checkpoints, and exceptions of every make, on every executor."""

from __future__ import annotations

import itertools
import traceback
from datetime import datetime
from functools import partial

import pytest

import pipeloom
from executors.cases.raising import RAISES, StrRaises
from executors.cases.tries import BY_FUNCTION, LONG_S, asks, judges


def test_a_policy_knows_the_exceptions_by_their_class(ran):
    """A subclass of what it names is tried again, until it goes well or the tries are used up; nothing else is."""
    assert ran.task("third_time_lucky", "status, attempt, result") == ("done", 3, "3")
    assert ran.task("never_lucky", "status, attempt") == ("error", 3)
    assert ran.task("not_worth_another_try", "status, attempt") == ("error", 1)
    assert ran.failure("never_lucky").attempt == 3
    assert ran.rows('SELECT "case", attempt FROM tries') == [("third_time_lucky", 3)]


def test_past_tries_are_kept(ran):
    """With what each raised."""
    assert ran.rows(
        "SELECT key, a.attempt, a.status, a.message FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id "
        "WHERE t.key IN ('third_time_lucky', 'never_lucky') ORDER BY 1 DESC, 2"
    ) == [
        ("third_time_lucky", 1, "error", "try 1"),
        ("third_time_lucky", 2, "error", "try 2"),
        ("never_lucky", 1, "error", "try 1"),
        ("never_lucky", 2, "error", "try 2"),
    ]


def test_a_policy_may_name_a_union(ran):
    """Each of its classes is worth another try."""
    assert ran.result("lucky_by_the_union") == 2


def test_an_exception_says_when_to_come_back(ran):
    """Where it lives; the policy's maximum holds."""
    assert ran.result("waits_for_a_service") == 2
    assert pauses_of(ran.rows, "waits_for_a_service")[0] >= LONG_S


def test_a_task_asks_to_be_tried_later(ran):
    """As often as it likes, beside the tries that it has; what it wrote in those is not stored."""
    assert ran.task("asks_to_be_tried_later", "status, attempt, result") == ("done", 5, "5")
    assert ran.rows('SELECT COUNT(*) FROM "left" WHERE "case" = \'asks_to_be_tried_later\'') == [(0,)]
    assert ran.rows(
        "SELECT a.attempt, a.status, a.message FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id "
        "WHERE t.key = 'asks_to_be_tried_later' ORDER BY 1"
    ) == [
        (1, "error", "asked to be retried in 0 s after ConnectionError: reset 1"),
        (2, "error", "try 2"),
        (3, "error", "asked to be retried in 0 s after ConnectionError: reset 3"),
        (4, "error", "try 4"),
    ]


def test_a_task_asks_too_often(ran):
    """Those that count are counted; the exception is told with what it was made of."""
    failure = ran.failure("asks_too_often")

    assert (failure.exception, failure.attempt) == ("RetryLater", 3)
    assert failure.message == "asked to be retried in 0 s, but this was the last of its 3 attempts"


def test_a_policy_of_functions(executor, db, read, package_log, caplog):
    """Both are called where the exception lives. What they raise never takes the place of the task's own error."""
    report = pipeloom.map(
        executor.of(judges), ["not worth it", "not known", "soon", "0, then long"], db=db, retries=BY_FUNCTION,
        name="judges", workers=2, on_error="collect", progress=False, durability="off", **executor.options,
    )  # fmt: skip

    assert dict(report.results()) == {"soon": 2, "0, then long": 3}
    assert pauses_of(partial(read, db), "0, then long")[1] >= LONG_S
    failures = {failure.key: failure for failure in report.failures}
    assert {(key, failure.message, failure.attempt) for key, failure in failures.items()} == {
        ("not worth it", "not worth it", 1), ("not known", "'not known'", 1),
    }  # fmt: skip
    assert "is_worth_it) raised NotImplementedError: what of these?" in failures["not known"].traceback
    ((error,),) = read(
        db, "SELECT a.error FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id WHERE t.key = 'soon'"
    )
    assert "wait_of) raised TypeError: it returned str, not a number of seconds" in error
    assert sum("is_worth_it) raised" in line or "wait_of) raised" in line for line in caplog.messages) == 1


def test_a_task_asks_without_a_policy(executor, db, read):
    """What does not count needs none."""
    report = pipeloom.map(
        executor.of(asks), ["counts", "does not"], db=db, name="asks", workers=2, on_error="collect",
        progress=False, durability="off", **executor.options,
    )  # fmt: skip

    assert dict(report.results()) == {"does not": 5}
    assert report.failures[0].message.startswith("asked to be retried in 0 s, but had no attempts left: pass re")


def pauses_of(rows, case):
    """Return the seconds between each try of a case and the next one."""
    times = rows(
        "SELECT a.started_at, a.finished_at FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id "
        f"WHERE t.key = '{case}' UNION ALL SELECT started_at, finished_at FROM task_runs WHERE key = '{case}' "
        "ORDER BY 1"
    )
    instants = [[datetime.fromisoformat(at) for at in each] for each in times]
    # Instants are stored in milliseconds.
    return [(begun - ended).total_seconds() + 0.001 for (_, ended), (begun, _) in itertools.pairwise(instants)]


def test_a_task_goes_on_from_its_checkpoint(ran, executor):
    """Each row once, by the try that wrote it."""
    if executor.lacks(ran, "checkpoint", "goes_on_from_its_state"):
        return
    assert ran.rows("SELECT n, attempt FROM stages WHERE \"case\" = 'goes_on_from_its_state' ORDER BY n") == [
        (0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3),
    ]  # fmt: skip
    assert ran.task("goes_on_from_its_state", "status, attempt") == ("done", 3)


def test_what_a_failed_task_has_checkpointed_stays(ran, executor):
    """With its state; what came behind it went with the try."""
    if executor.lacks(ran, "checkpoint", "goes_on_in_the_next_run"):
        return
    assert ran.rows("SELECT n FROM stages WHERE \"case\" = 'goes_on_in_the_next_run'") == [(0,)]
    assert ran.rows("SELECT state FROM pipeloom_state") == [('["half"]',)]


def test_a_checkpoint_that_is_refused_is_heard_by_the_task(ran, executor):
    """In the call, and it is the task's error."""
    if executor.lacks(ran, "checkpoint", "checkpoint_refused", "checkpoint_of_what_is_no_json"):
        return
    assert ran.rows("SELECT said FROM heard WHERE \"case\" = 'checkpoint_refused'") == [("refused",)]
    assert ran.task("checkpoint_refused") == ("error",)
    assert "NOT NULL constraint failed: stock.n" in ran.failure("checkpoint_refused").message
    assert "must be JSON" in ran.result("checkpoint_of_what_is_no_json")


SAID = {
    # exception, message
    "builtin": ("ValueError", "plain"),
    "key error": ("KeyError", "'missing'"),
    "no arguments": ("RuntimeError", "RuntimeError"),
    "os error": ("FileNotFoundError", "[Errno 2] No such file or directory: 'nowhere'"),
    "unicode error": (
        "UnicodeDecodeError",
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
    "json error": (
        "JSONDecodeError",
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
    ),
    "sqlite error": ("OperationalError", "no such thing"),
    "queue full": ("Full", "Full"),
    "with a lock": ("WithALock", "holds a lock"),
    "reduce raises": ("ReduceRaises", "as it is"),
    "other arguments": ("OtherArguments", "7: two of them"),
    "unpickles to trouble": ("UnpicklesToTrouble", "as it is"),
    "str raises": ("StrRaises", "<StrRaises that cannot be shown: RuntimeError>"),
    "repr raises": ("ReprRaises", "no repr"),
    "local class": ("Local", "of a function"),
    "group": ("ExceptionGroup", "outer (2 sub-exceptions)"),
    "of no kind": ("OfNoKind", "neither"),
    "system exit": ("SystemExit", "3"),
    "keyboard interrupt": ("KeyboardInterrupt", "by the task"),
    "generator exit": ("GeneratorExit", "GeneratorExit"),
    "stop iteration": ("StopIteration", "5"),
    "memory": ("MemoryError", "MemoryError"),
    "surrogate": ("ValueError", "\\ud800 and \x1b[31m"),
    "refused": ("RowRefusedError", "by itself"),
}


def test_every_exception_is_told_with_its_type_and_message(ran, executor):
    """Whatever it holds, however it is made, whether or not it can be pickled."""
    told = {case: (ran.failure(case).exception, ran.failure(case).message) for case in SAID}

    assert told == SAID | executor.says
    assert all(ran.task(case, "status, attempt") == ("error", 1) for case in SAID)


def test_every_exception_has_its_traceback(ran, executor):
    """From the user's frame on, to the exception as Python shows it."""
    for case, (exception, _) in (SAID | executor.says).items():
        trace = ran.failure(case).traceback
        assert "in work\n" in trace, case
        assert exception in trace, case


def test_a_long_message_is_cut(ran):
    """In the row, and in the traceback."""
    failure = ran.failure("long")

    assert (failure.exception, len(failure.message) <= 2000) == ("ValueError", True)
    assert len(failure.traceback) < 70_000


def test_a_group_is_told_whole(ran):
    """Its parts, its notes and its cause."""
    trace = ran.failure("group").traceback

    assert "ValueError: invalid literal for int() with base 10: 'x'" in trace
    assert "executors.cases.raising.OtherArguments: 1: in a group" in trace
    assert "| a note" in trace
    assert "KeyError: 'k'" in trace


def test_a_deep_recursion_is_told(ran):
    """Not with all of its frames."""
    failure = ran.failure("recursion")

    assert failure.exception == "RecursionError"
    assert "maximum recursion depth exceeded" in failure.message
    assert "more times" in failure.traceback


def test_a_task_may_end_itself_as_cancelled_or_timed_out(ran):
    """By raising what ``ctx.check`` raises."""
    assert ran.task("cancelled", "status, message") == ("cancelled", "by itself")
    assert ran.task("timed out", "status, message") == ("timed_out", "by itself")
    assert (ran.report.cancelled, ran.report.timed_out) == (1, 1)


def test_what_is_raised_for_failures_are_exceptions(ran):
    """Of the first twenty; each can be shown."""
    with pytest.raises(pipeloom.TasksFailedError) as raised:
        ran.report.raise_for_failures()

    assert len(raised.value.exceptions) == 20
    assert all(isinstance(error, Exception) for error in raised.value.exceptions)
    assert "".join(traceback.format_exception(raised.value))


def test_every_make_is_judged():
    """Nothing in the list is forgotten here."""
    elsewhere = {"long", "recursion", "cancelled", "timed out"}
    assert set(RAISES) == set(SAID) | elsewhere
    with pytest.raises(RuntimeError):
        str(StrRaises())
