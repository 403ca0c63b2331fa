"""One call of the user's function: what comes out of it, however it ends, and that it needs no ledger."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections import deque

import pytest

from pipeloom import AttemptOverError, MsgTaskFinished, Retry, RowRefusedError, TaskCancelledError, TaskTimeoutError
from pipeloom.data.clock import instant
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.executors.threads import given_up
from pipeloom.wire import NO_RETRY
from pipeloom.worker.context import TaskContext
from pipeloom.worker.current import enter
from pipeloom.worker.perform import perform
from worker.recording import RecordingLink, brief_for, task_for

AT = "2026-01-01T00:00:00+00:00"
LONG_S = 10.0


@pytest.fixture(autouse=True)
def no_task_is_left_current():
    """As a worker's loop does when it ends."""
    yield
    enter(None)


def outcome_of(function, item=1, **changes):
    """Perform one task; return its outcome by name, and the task."""
    task = task_for(item)
    status, message, result, failed, staged, finished_at, elapsed_s = perform(
        task, RecordingLink(function, **changes)
    )
    assert instant(finished_at) is not None
    assert elapsed_s >= 0
    return {"status": status, "message": message, "result": result, "failed": failed, "staged": staged}, task


# --- how it is called, and what it returns ---


def test_what_is_returned_becomes_the_result():
    """As JSON; nothing is none. The task itself does not say yet that it is over."""
    outcome, task = outcome_of(lambda item: {"n": item})

    assert outcome == {"status": "done", "message": None, "result": '{"n":1}', "failed": None, "staged": None}
    assert task.status == "running"
    assert instant(task.started_at) is not None
    assert outcome_of(lambda item: None)[0]["result"] is None
    assert outcome_of(lambda item: {"n": item}, keeps_results=False)[0]["result"] is None


@pytest.mark.parametrize(
    ("function", "context"),
    [(lambda item, *, info: info, "info"), (lambda item, info: info, "")],
    ids=["by name", "as the second argument"],
)
def test_the_context_is_passed_as_the_brief_says(function, context):
    """It is the task's own."""
    seen = []
    outcome_of(lambda *items, **named: seen.append(function(*items, **named)), "x", context=context)

    assert isinstance(seen[0], TaskContext)
    assert seen[0].key == "x"


def test_the_last_message_said_is_kept():
    """What the function said of its progress explains how it ended."""
    assert outcome_of(lambda item, ctx: ctx.progress(1, 2, "half"), context="ctx")[0]["message"] == "half"


def test_the_time_limit_begins_with_the_call():
    """The deadline is on the task, for others to look at."""
    assert outcome_of(int, timeout_s=5.0)[1].deadline == pytest.approx(outcome_of(int)[1].t0 + 5.0, abs=1.0)
    assert outcome_of(int)[1].deadline is None


# --- how it fails ---


def raising(error):
    def function(_item, ctx):
        ctx.write("t", {"n": 1})
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), "error"), (SystemExit(3), "error"), (TaskTimeoutError("late"), "timed_out")],
    ids=lambda value: type(value).__name__,
)
def test_what_is_raised_is_the_tasks_own(error, status):
    """With a traceback that begins in the user's function, and without what was staged."""
    outcome, task = outcome_of(raising(error), context="ctx")
    raised, trace, decision = outcome["failed"]

    assert (outcome["status"], outcome["message"], outcome["staged"]) == (status, str(error), None)
    assert raised is error
    assert trace.startswith("Traceback")
    assert "raise error" in trace
    assert "/perform.py" not in trace
    assert decision == NO_RETRY
    assert task.staging.last is None


def test_a_task_that_notices_the_cancel_has_not_failed():
    """It ends as it was asked to."""
    outcome, _ = outcome_of(raising(TaskCancelledError("the run is being cancelled")), context="ctx")

    assert outcome["status"] == "cancelled"
    assert outcome["failed"] is outcome["staged"] is None


def test_a_result_that_is_not_json_is_an_error():
    """The sentence says what to do instead."""
    outcome, _ = outcome_of(lambda item: object())

    assert (outcome["status"], outcome["result"]) == ("error", None)
    assert "ctx.write" in outcome["message"]


class ShowsNothing(Exception):
    def __str__(self):
        raise SystemExit(1)


def test_an_exception_that_cannot_be_shown_is_named():
    """Its own code may raise anything, too."""
    outcome, _ = outcome_of(raising(ShowsNothing()), context="ctx")

    assert "ShowsNothing" in outcome["message"]
    assert "ShowsNothing" in outcome["failed"][1]


@pytest.mark.parametrize(
    ("error", "attempt", "again"),
    [(OSError(), 1, True), (OSError(), 2, False), (KeyError(), 1, False), (RowRefusedError("no"), 1, False)],
    ids=["another try", "the last try", "another type", "refused for good"],
)
def test_the_worker_says_whether_an_exception_is_worth_another_try(error, attempt, again):
    """Here, where its class is known."""
    task = task_for(1)
    task.attempt = attempt
    link = RecordingLink(raising(error), context="ctx", retry=Retry(2, on=(OSError, RowRefusedError)))

    assert (perform(task, link)[3][2].after_s is not None) is again


def test_a_failed_call_keeps_no_frames():
    """Its outcome may wait for room, for a commit and for another try; its traceback is text."""

    def failing(_):
        raise ValueError("no")

    _, trace, _ = outcome_of(failing)[0]["failed"]
    error = outcome_of(failing, retry=Retry(2))[0]["failed"][0]
    assert "in failing" in trace
    assert error.__traceback__ is None


# --- what a worker said of itself ---


def finishing(*words):
    def worker(_item, msg_q):
        msg_q.put(MsgTaskFinished(1, *words))

    return worker


def test_a_workers_own_finish_is_believed():
    """Its status, time, result and message, each if it said one."""
    task = task_for(1)
    link = RecordingLink(finishing("error", AT, {"a": 1}, "bad"), context="", keyed=False)
    assert perform(task, link)[:6] == ("error", "bad", '{"a":1}', None, None, AT)

    outcome, _ = outcome_of(finishing("done", None, None, None), context="", keyed=False)
    assert (outcome["status"], outcome["message"], outcome["result"]) == ("done", None, None)


def test_an_impossible_finish_is_an_error_without_frames_of_ours():
    """There is none of the user's to show."""
    outcome, _ = outcome_of(finishing("perhaps", AT), context="", keyed=False)

    assert outcome["status"] == "error"
    assert "not 'perhaps'" in outcome["message"]
    assert "File" not in outcome["failed"][1]


# --- what it wrote ---


def writing(item, ctx):
    ctx.write("t", {"n": item})
    ctx.write("t", {"n": 2})
    ctx.execute("DELETE FROM t WHERE n = ?", (0,))


def test_what_was_written_comes_with_the_outcome():
    """In its order, with how much it is; nothing can be added afterwards."""
    link, task = RecordingLink(writing, context="ctx"), task_for(1)
    output, rows, size = perform(task, link)[4]

    shape = Shape("t", ("n",), "error", ())
    assert output == [Block(shape, [(1,), (2,)]), Statement("DELETE FROM t WHERE n = ?", (0,))]
    assert rows == 2
    assert size > 0
    for write in (TaskContext(task, link).write, lambda *row: TaskContext(task, link).execute("SELECT 1")):
        with pytest.raises(AttemptOverError):
            write("t", {"n": 3})


def test_log_lines_that_were_not_kept_are_counted_at_the_end():
    """One line stands for them."""
    task = task_for(1)
    task.logs, task.unkept = deque(), 7
    perform(task, RecordingLink(int))

    assert [line.message.split()[0] for line in task.logs] == ["7"]


# --- what goes on although it was given up ---


class Stuck:
    """A task that hangs in another thread until it is let go of."""

    def __init__(self, hang, **changes):
        self.task, self.inside, self.go_on = task_for(1), threading.Event(), threading.Event()
        self.late = []

        def function(_item, ctx):
            ctx.write("t", {"n": 1})
            hang(self, ctx)

        self.link = RecordingLink(function, context="ctx", timeout_s=0.5, **changes)
        self.thread = threading.Thread(target=lambda: self.late.append(perform(self.task, self.link)))

    def __enter__(self):
        self.thread.start()
        assert self.inside.wait(LONG_S)
        return self

    def __exit__(self, *_):
        self.go_on.set()
        self.thread.join(LONG_S)


def hang_in_user_code(stuck, ctx):
    stuck.inside.set()
    stuck.go_on.wait(LONG_S)
    with pytest.raises(AttemptOverError):
        ctx.write("t", {"n": 2})


def test_giving_up_says_where_the_call_is():
    """As a traceback, from the user's function on; what was staged is dropped, what is staged late refused."""
    with Stuck(hang_in_user_code, retry=Retry(2)) as stuck:
        status, message, result, failed, staged, *_ = given_up(stuck.task, stuck.link, stuck.thread.ident)
        assert stuck.task.staging.last is None

    assert (status, result, staged) == ("timed_out", None, None)
    assert message.startswith("not done after 500 ms")
    assert isinstance(failed[0], TaskTimeoutError)
    assert "stuck.go_on.wait(LONG_S)" in failed[1]
    assert "/perform.py" not in failed[1]
    assert failed[2].after_s is not None
    assert stuck.late[0][0] == "done"
    assert stuck.late[0][4] is None


def test_giving_up_does_not_wait_for_a_checkpoint_that_waits_for_room():
    """It holds the lock of what is staged; the run's thread has signals to hear meanwhile."""

    def hang_in_a_checkpoint(stuck, ctx):
        ask = stuck.link.ask

        def full(*question):
            stuck.inside.set()
            stuck.go_on.wait(LONG_S)
            return ask(*question)

        stuck.link.ask = full
        ctx.checkpoint(1)

    gave_up = threading.Event()
    with Stuck(hang_in_a_checkpoint) as stuck:
        giving_up = threading.Thread(
            target=lambda: (given_up(stuck.task, stuck.link, stuck.thread.ident), gave_up.set())
        )
        giving_up.start()
        in_time = gave_up.wait(1.0)
        stuck.go_on.set()
        giving_up.join(LONG_S)

    assert in_time


# --- the boundary ---

USERS = """
def double(item, ctx):
    ctx.progress(1, 2)
    ctx.write("t", {"n": item, "of": ctx.key})
    ctx.checkpoint({"at": item})
    ctx.put(("said", ctx.query("SELECT 1")))
    ctx.write("t", {"n": 2 * item, "of": ctx.key})
    return item * 2
"""
ELSEWHERE = """
import pickle, sys
task, brief = pickle.load(sys.stdin.buffer)

class Link:
    cancelling = False
    def __init__(self, brief):
        self.brief, self.asked, self.said = brief, [], []
    def ask(self, task, question, look):
        self.asked.append(question)
        return self
    def result(self, look=None):
        return [(1,)]
    def say(self, task, message, look, *, block, timeout):
        self.said.append(message)

from pipeloom.worker.perform import perform
link = Link(brief)
outcome = perform(task, link)
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("pipeloom.")}
sys.stdout.buffer.write(pickle.dumps((outcome, link.asked, link.said, rooms)))
"""


def test_a_task_can_be_performed_where_there_is_no_ledger(tmp_path, monkeypatch):
    """In a process that was told only the task and the brief; what comes back says all there is to store."""
    (tmp_path / "users.py").write_text(USERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    import users

    sent = pickle.dumps((task_for(21), brief_for(users.double, context="ctx")))
    ran = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=sent,
        capture_output=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stderr.decode()
    outcome, asked, said, rooms = pickle.loads(ran.stdout)

    shape = Shape("t", ("n", "of"), "error", ())
    assert outcome[:4] == ("done", None, "42", None)
    assert outcome[4][:2] == ([Block(shape, [(42, "21")])], 1)
    assert [type(question).__name__ for question in asked] == ["Checkpoint", "Query"]
    assert asked[0].output == [Block(shape, [(21, "21")])]
    assert said == [("said", [(1,)])]
    assert not rooms & {"ledger", "writer", "db", "engine", "executors", "history", "show"}
    monkeypatch.delitem(sys.modules, "users")
