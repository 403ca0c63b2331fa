"""Tries, checkpoints, and exceptions of every make, on every executor."""

from __future__ import annotations

import traceback

import pytest

import pipeloom
from executors.cases.raising import RAISES, StrRaises


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
