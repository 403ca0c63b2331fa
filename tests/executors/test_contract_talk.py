"""What a task is told while it runs, and what it says, on every executor."""

from __future__ import annotations

import threading
from functools import partial

import pytest

import pipeloom
from executors import running
from executors.watching import Watcher, informed
from pipeloom.db.cancel import request_cancel

# --- what it is told ---


def test_a_task_knows_who_it_is(ran):
    """In its context, and anywhere below it by ``current_task``."""
    said = ran.result("identity")

    assert said.pop("pickles").startswith("TypeError: a task's context cannot be sent to another process")
    assert said == {
        "key": "identity", "ids": [*ran.task("identity", "id, run_id")], "is current": True, "attempt": 1,
        "remaining": None, "cancelled": False,
    }  # fmt: skip


def test_a_task_reads_what_is_committed(ran, executor):
    """Rows as SQLite has them; nothing staged, and nothing that writes."""
    if executor.lacks(ran, "ask", "queries"):
        return
    assert ran.result("queries") == {
        "rows": [["seed", 1]], "types": [[None, 1, 0.5, "é", 9223372036854775807]], "blob": True,
        "is tuples": "tuple", "many": 20000, "staged": [], "writes": "RowRefusedError",
        "wrong": 'OperationalError: near "nothing": syntax error', "unstorable": "RowRefusedError",
    }  # fmt: skip


def test_all_threads_of_a_task_may_ask(ran, executor):
    """Each gets its own answer."""
    if executor.lacks(ran, "ask", "asks_from_its_threads"):
        return
    assert ran.result("asks_from_its_threads") == list(range(8))


def test_context_variables_end_with_their_try(ran):
    """What one task sets, no other finds."""
    assert ran.result("sets_a_context_variable") == "nothing"
    assert ran.result("finds_no_context_variable") == "nothing"


def test_what_is_local_is_entered_once_a_worker(ran, executor):
    """Its value is ``ctx.local``; it is left when the worker ends."""
    if "local" not in executor.takes:
        assert ran.result("finds_what_is_local") is None
        return
    assert ran.result("finds_what_is_local") == {"value": 42}
    assert (
        sorted(ran.db.with_suffix(".local").read_text().split())
        == ["entered"] * executor.workers + ["left"] * executor.workers
    )


# --- what it says ---


def test_messages_stay_although_their_task_fails(ran):
    """Rows, statements, and messages of the user's, which their handler gets as they were."""
    assert ran.task("puts_and_fails") == ("error",)
    assert ran.rows("SELECT said FROM heard WHERE \"case\" = 'puts_and_fails' ORDER BY rowid") == [
        ("rows",), ("sequence",), ("statement",),
    ]  # fmt: skip
    assert ran.rows("SELECT * FROM readings") == [("a", 0.5), ("b", 1.5)]


def test_progress_is_what_a_task_said_last(ran):
    """Of one that failed; one that is done has done all."""
    assert ran.task("progresses", "status, progress") == ("error", 0.75)
    assert ran.task("tracks", "status, progress, result") == ("done", 1.0, "10")


def test_a_task_may_say_itself_how_it_ended(ran):
    """With a message, as workers of the older kind do; it is not tried again."""
    assert ran.task("reports_its_end", "status, message, error, finished_at") == (
        "error", "as it says", None, "2026-01-31T12:00:00+00:00",
    )  # fmt: skip


def test_log_records_are_kept_with_their_task(ran):
    """INFO and above, with tracebacks, of its threads that have a copy of its context, and of no others."""
    found = ran.rows(
        "SELECT l.level, l.logger, l.message, l.error FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id "
        "WHERE t.key = 'logs' ORDER BY l.id"
    )

    assert [line[:3] for line in found] == [
        ("INFO", "contract", "kept 5%"),
        ("WARNING", "contract", "wörd 🐎"),
        ("ERROR", "contract", "divided"),
        ("ERROR", "contract.child", "from a child"),
        ("INFO", "contract", "from a thread"),
    ]
    assert [line[3] is None for line in found] == [True, True, False, True, True]
    assert "ZeroDivisionError: division by zero" in found[2][3]


def test_log_records_are_kept_with_their_try(ran):
    """Also of one that fails."""
    sql = "SELECT key, l.attempt, l.message FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id WHERE key = ?"

    assert ran.rows(sql, "third_time_lucky") == [("third_time_lucky", n, f"try {n}") for n in (1, 2, 3)]
    assert ran.rows(sql, "logs_and_fails") == [("logs_and_fails", 1, "before it fails")]


# --- while it runs ---


def test_a_task_is_seen_and_stopped_while_it_runs(executor, db, read):
    """By another connection: its progress, its log lines, its messages; then it hears that the run is cancelled."""
    if "live" not in executor.can:
        return  # see ``test_futures``
    seen = {}

    def look():
        watcher = Watcher(db)
        if "live" in executor.can:
            progress = "SELECT progress, message FROM task_runs WHERE status = 'running' AND key = 'checks'"
            seen["progress"] = watcher.until(progress, [(0.3, "three of ten")])
        if "logs" in executor.can:
            log = (
                "SELECT l.message FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id WHERE t.key = 'checks'"
            )
            seen["log"] = watcher.until(log, [("heard at once",)])
        if "ask" in executor.can:
            seen["message"] = watcher.until("SELECT said FROM heard", [("put",)])
        seen["both"] = watcher.until("SELECT COUNT(*) FROM task_runs WHERE status = 'running'", [(2,)])
        request_cancel(db, 1, "cancel")

    watching = threading.Thread(target=look)
    watching.start()
    try:
        with informed(), pytest.raises(pipeloom.RunInterruptedError) as interrupted:
            pipeloom.map(
                executor.of(running.waits), ["checks", "looks", *range(50)], db=db, name="waits", workers=2,
                progress=False, tables={"heard": {"said": str}}, durability="off", **executor.options,
            )  # fmt: skip
    finally:
        watching.join()

    assert set(seen) >= {"progress", "log", "both"}
    report = interrupted.value.report
    assert (report.cancelled, report.failed, report.status) == (1, 0, "cancelled")
    status = dict(read(db, "SELECT key, status FROM task_runs"))
    assert (status["checks"], status["looks"]) == ("cancelled", "done")
    assert read(db, "SELECT result FROM task_runs WHERE key = 'looks'") == [('"saw it"',)]
    assert read(db, "SELECT said FROM heard") == [("put",)]


def test_time_limits(executor, db, read, tmp_path):
    """A call that looks ends itself; one that does not is over all the same, and the others go on."""
    if "timeout" not in executor.takes:
        return  # see ``test_futures``
    work = partial(running.overruns, str(tmp_path))
    running.LET_GO.clear()
    try:
        report = pipeloom.map(
            executor.of(work), ["checks", "tracks", "asks", "quick", "does not look", "after"], db=db,
            name="limits", workers=2, timeout=0.25, on_error="collect", progress=False, durability="off",
            tables={"left": {"item": str}}, **executor.options,
        )  # fmt: skip
    finally:
        running.LET_GO.set()
    status = dict(read(db, "SELECT key, status FROM task_runs"))
    failed = {failure.key: failure for failure in report.failures}

    assert status == {
        "checks": "timed_out", "tracks": "timed_out", "asks": "timed_out", "quick": "done",
        "does not look": "timed_out", "after": "done",
    }  # fmt: skip
    assert {failure.exception for failure in failed.values()} == {"TaskTimeoutError"}
    assert "in overruns" in failed["checks"].traceback
    assert read(db, 'SELECT item FROM "left"') == []
    if "kill" in executor.can:
        assert not running.is_alive(int((tmp_path / "does not look").read_text()))


def test_a_try_after_a_time_limit(executor, db, read):
    """It is another try like any other; a call that looks has ended, so its next one does not overlap with it."""
    if "timeout" not in executor.takes:
        return
    report = pipeloom.map(
        executor.of(running.in_time_the_second_time), [1], db=db, name="second", workers=1, timeout=0.1,
        progress=False, retries=pipeloom.Retry(attempts=2, delay_s=0, on=TimeoutError), durability="off",
        **executor.options,
    )  # fmt: skip

    assert report.done == 1
    assert read(db, "SELECT status, attempt FROM task_runs") == [("done", 2)]
    assert read(db, "SELECT status, attempt FROM pipeloom_attempts") == [("timed_out", 1)]
