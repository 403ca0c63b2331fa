"""A run at a glance: what runs, how many have ended, and the first failures."""

from __future__ import annotations

import dataclasses
from collections import deque

from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.board import Board
from pipeloom.wire import LogLine

LINE = LogLine("t", "INFO", "x", "line", None)


def attempt(number=1, status="running", exception=None):
    made = Attempt("item", number, f"key {number}", "name", "new")
    made.status, made.started_at, made.exception = status, "t0", exception
    return made


def board_with(*attempts):
    board = Board(len(attempts))
    board.slots[:] = attempts
    return board


# --- what the ledger does not show yet ---


def test_a_task_that_began_is_news_until_it_is_noted():
    """Then again when it says something, or has another number."""
    runs = attempt()
    board = board_with(runs, None)
    (snapshot,) = board.news()
    assert (snapshot.attempt, snapshot.task_id, snapshot.started_at) == (runs, 1, "t0")

    runs.recorded, runs.shown = (1, "t0"), runs.progress
    assert board.news() == []
    runs.progress = (1, 2, "half")
    assert board.news()[0].progress == (1, 2, "half")
    runs.shown = runs.progress
    runs.task_id = 5
    assert board.news()[0].task_id == 5


def test_log_lines_are_news_for_a_task_with_a_number():
    """A stand-in keeps them: they are stored under the number that the task has in the end."""
    runs, stands_in = attempt(1), attempt(-1)
    for each in (runs, stands_in):
        each.recorded, each.logs = (each.task_id, "t0"), deque([LINE])
        each.shown = each.progress

    assert [snapshot.attempt for snapshot in board_with(runs, stands_in).news()] == [runs]


def test_what_has_ended_or_was_refused_is_no_news():
    """Its row is written with its end."""
    refused = attempt()
    refused.is_unshowable = True

    assert board_with(attempt(status="done"), refused, attempt(status="queued"), None).news() == []


# --- what has ended ---


def test_ended_tasks_are_counted_by_their_status():
    """Skipped inputs are dealt with, too."""
    board = Board(1)
    board.count([attempt(n, status) for n, status in enumerate(["done", "done", "error", "cancelled"])])
    board.count([attempt(9, "timed_out")])
    board.skipped = 3

    assert dict(board.counts) == {"done": 2, "error": 1, "cancelled": 1, "timed_out": 1}
    assert board.dealt_with == 8
    assert [failure.status for failure in board.failures] == ["error", "cancelled", "timed_out"]


def test_only_the_first_failures_are_kept():
    """All of them are in the ledger: memory stays flat if everything fails."""
    board = Board(1)
    board.count([attempt(n, "error", ValueError(n)) for n in range(150)])

    assert [failure.task_id for failure in board.failures] == list(range(100))
    assert [error.args[0] for error in board.exceptions] == [0]
    assert all(failure.item is None and failure.exception is None for failure in board.failures)


def test_few_exceptions_of_a_kind_are_all_kept_and_of_many_the_first():
    """A new kind takes the place of one that is not alone; twenty in all."""
    board = Board(1)
    failed = [attempt(n, "error", ValueError(n)) for n in range(3)]
    for n in range(30):
        failed.append(attempt(10 + n, "error", KeyError(n)))
        failed[-1].message = "abcdefghijklmnopqrstuvwxyzABCD"[n] * 3
    board.count(failed)

    assert [type(error) for error in board.exceptions] == [ValueError, *[KeyError] * 19]
    assert (len(board.kinds), board.kinds[0].count) == (31, 3)
    board.count([attempt(99, "error", ValueError(n)) for n in range(3)])
    assert board.kinds[0].last.task_id == 99
    assert len(board.exceptions) == 20


def raised():
    """Return an exception that was raised, with a cause and a context, each with frames."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        return error


def test_a_kept_exception_has_no_frames_and_says_whose_it_is():
    """What a failed task had in its variables is not kept alive."""
    failed = attempt(7, "error", raised())
    failed.error = (
        'Traceback (most recent call last):\n  File "/a/b.py", line 12, in fn\n    raise\nValueError: outer'
    )
    board = Board(1)
    board.count([failed])
    (kept,) = board.exceptions

    assert kept.__traceback__ is kept.__cause__.__traceback__ is kept.__context__.__traceback__ is None
    assert kept.__notes__ == ["pipeloom: task key 7, /a/b.py:12 in fn"]
    assert failed.exception_type == "ValueError"


def test_a_system_exit_is_kept_as_an_error():
    """It must not end the caller's program."""
    failed = attempt(7, "error", SystemExit(3))
    failed.message = "3"
    board = Board(1)
    board.count([failed])

    assert repr(board.exceptions) == "[RuntimeError('SystemExit: 3')]"
    assert failed.exception_type == "SystemExit"


def test_an_exception_that_was_given_large_data_is_kept_as_text():
    """Twenty of them would hold what the run let go of."""
    failed = attempt(7, "error", ValueError("no", bytes(2 * 2**20)))
    failed.message = "no"
    board = Board(1)
    board.count([failed])

    assert repr(board.exceptions) == "[RuntimeError('ValueError: no')]"
    assert failed.exception_type == "ValueError"


def test_an_exception_that_takes_no_note_is_kept_as_it_is():
    """Its attributes cannot be set, except past its class."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int = 1

    frozen = Frozen()
    board = Board(1)
    board.count([attempt(7, "error", frozen)])

    assert board.exceptions == [frozen]
