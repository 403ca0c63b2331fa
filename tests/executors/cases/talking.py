"""Cases that return, go on, ask and say something; judged in ``test_contract_tries`` and ``test_contract_talk``."""

from __future__ import annotations

import contextvars
import logging
import pickle
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import pipeloom
from executors.cases.registry import case
from executors.cases.tries import Again, AlsoAgain, Busy, StillAgain

logger = logging.getLogger("contract")


# --- results ---


@case
def returns_much(ctx):
    return {"list": [1, 2.5, None, True], "nested": {"é": "🐎"}, "date": date(2026, 1, 2), "long": "x" * 200_000}


@case
def returns_nothing(ctx):
    return None


@case
def returns_what_is_no_json(ctx):
    ctx.write("left", {"case": "returns_what_is_no_json"})
    return {"lock": threading.Lock()}


@case
def returns_a_generator(ctx):
    return (n for n in range(3))


@case
def returns_a_coroutine(ctx):
    async def answer():
        return 1

    return answer()


# --- tries, checkpoints ---


@case
def third_time_lucky(ctx):
    ctx.write("tries", {"case": "third_time_lucky", "attempt": ctx.attempt})
    logger.info("try %d", ctx.attempt)
    if ctx.attempt < 3:
        raise StillAgain(f"try {ctx.attempt}")
    return ctx.attempt


@case
def never_lucky(ctx):
    ctx.write("tries", {"case": "never_lucky", "attempt": ctx.attempt})
    raise Again(f"try {ctx.attempt}")


@case
def not_worth_another_try(ctx):
    raise ValueError("only once")


@case
def lucky_by_the_union(ctx):
    if ctx.attempt == 1:
        raise AlsoAgain("try 1")
    return ctx.attempt


@case
def waits_for_a_service(ctx):
    if ctx.attempt == 1:
        raise Busy(timedelta(hours=1))
    return ctx.attempt


@case
def asks_to_be_tried_later(ctx):
    if ctx.attempt in (1, 3):
        ctx.write("left", {"case": "asks_to_be_tried_later"})
        raise pipeloom.RetryLater(0, count=False) from ConnectionError(f"reset {ctx.attempt}")
    if ctx.attempt < 5:
        raise Again(f"try {ctx.attempt}")
    return ctx.attempt


@case
def asks_too_often(ctx):
    raise pipeloom.RetryLater(0)


@case
def goes_on_from_its_state(ctx):
    begin = 0 if ctx.state is None else ctx.state["next"]
    for n in range(begin, 6):
        ctx.write("stages", {"case": "goes_on_from_its_state", "n": n, "attempt": ctx.attempt})
        if n % 2:
            ctx.checkpoint({"next": n + 1})
            assert ctx.state == {"next": n + 1}
        elif n == 2 * ctx.attempt:
            raise Again(f"behind {n}")
    return ctx.attempt


@case
def goes_on_in_the_next_run(ctx):
    if ctx.state is None:
        ctx.write("stages", {"case": "goes_on_in_the_next_run", "n": 0, "attempt": 1})
        ctx.checkpoint(["half"])
        ctx.write("stages", {"case": "goes_on_in_the_next_run", "n": -1, "attempt": 1})
        raise ValueError("not in this run")
    ctx.write("stages", {"case": "goes_on_in_the_next_run", "n": 1, "attempt": 2})
    return ctx.state


@case
def checkpoint_refused(ctx):
    ctx.write("stock", {"sku": "by a checkpoint", "n": None})
    try:
        ctx.checkpoint(1)
    except (pipeloom.RowRefusedError, sqlite3.IntegrityError):
        ctx.put(pipeloom.MsgWriteRows("heard", {"case": "checkpoint_refused", "said": "refused"}))
        raise


@case
def checkpoint_of_what_is_no_json(ctx):
    try:
        ctx.checkpoint(object())
    except pipeloom.RowRefusedError as error:
        return str(error)


# --- what a task is told ---


@case
def identity(ctx):
    current = pipeloom.current_task()
    return {
        "key": ctx.key,
        "ids": [ctx.task_id, ctx.run_id],
        "is current": [current.task_id, current.key, current.attempt] == [ctx.task_id, ctx.key, ctx.attempt],
        "attempt": ctx.attempt,
        "remaining": ctx.remaining_s,
        "cancelled": ctx.cancelled,
        "pickles": _why_not(lambda: pickle.dumps(ctx)),
    }


def _why_not(call: Callable[[], object]) -> str | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return f"{type(error).__name__}: {error}"
    return None


@case
def queries(ctx):
    ctx.write("stock", {"sku": "staged", "n": 1})
    return {
        "rows": ctx.query("SELECT sku, n FROM stock WHERE sku = :sku", {"sku": "seed"}),
        "types": ctx.query("SELECT NULL, 1, 0.5, 'é', 9223372036854775807"),
        "blob": ctx.query("SELECT X'00ff'") == [(b"\x00\xff",)],
        "is tuples": type(ctx.query("SELECT 1")[0]).__name__,
        "many": len(
            ctx.query("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT i FROM n")
        ),
        "staged": ctx.query("SELECT 1 FROM stock WHERE sku = 'staged'"),
        "writes": (_why_not(lambda: ctx.query("DELETE FROM stock")) or "").partition(":")[0],
        "wrong": _why_not(lambda: ctx.query("SELECT nothing FROM nowhere")),
        "unstorable": (_why_not(lambda: ctx.query("SELECT ?", (object(),))) or "").partition(":")[0],
    }


@case
def asks_from_its_threads(ctx):
    found = ctx.query("SELECT 0 WHERE 0")
    threads = [
        threading.Thread(target=lambda n=n: found.append(ctx.query("SELECT ?", (n,))[0][0])) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


_leaking: contextvars.ContextVar[str] = contextvars.ContextVar("leaking", default="nothing")


@case
def sets_a_context_variable(ctx):
    before = _leaking.get()
    _leaking.set("leaked")
    return before


@case
def finds_no_context_variable(ctx):
    return sets_a_context_variable(ctx)


@case
def finds_what_is_local(ctx):
    return ctx.local


# --- what a task says ---


@dataclass(frozen=True)
class Reading:
    """A message of the user's, with a handler."""

    sensor: str
    value: float


@dataclass(frozen=True)
class Unknown:
    """A message without one."""

    text: str


def store_readings(conn: sqlite3.Connection, readings: list[Reading]) -> None:
    """Handle them."""
    conn.executemany("INSERT INTO readings VALUES (?, ?)", [(r.sensor, r.value) for r in readings])


@case
def puts_and_fails(ctx):
    ctx.put(pipeloom.MsgWriteRows("heard", {"case": "puts_and_fails", "said": "rows"}))
    ctx.put(pipeloom.MsgWriteRows("heard", iter([("puts_and_fails", "sequence")]), columns=("case", "said")))
    ctx.put(pipeloom.MsgExecute("INSERT INTO heard VALUES (?, ?)", ("puts_and_fails", "statement")))
    ctx.put_nowait(Reading("a", 0.5))
    ctx.put(Reading("b", 1.5))
    ctx.write("left", {"case": "puts_and_fails"})
    assert ctx.qsize() >= 0
    assert ctx.empty() in (True, False)
    assert ctx.full() is False
    raise ValueError("after all")


@case
def progresses(ctx):
    ctx.progress(1, 4, "first")
    for _ in ctx.track("ab"):
        pass
    ctx.progress(3, 4, "third")
    raise ValueError("at three of four")


@case
def tracks(ctx):
    return sum(1 for _ in ctx.track(iter(range(10)), total=10))


@case
def reports_its_end(ctx):
    ctx.put(pipeloom.MsgTaskFinished(ctx.task_id, "error", "2026-01-31T12:00:00+00:00", message="as it says"))


@case
def logs(ctx):
    logger.debug("dropped")
    logger.info("kept %d%%", 5)
    logger.warning("wörd 🐎")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("divided")
    logging.getLogger("contract.child").error("from a child")
    thread = threading.Thread(target=contextvars.copy_context().run, args=(logger.info, "from a thread"))
    thread.start()
    thread.join()
    other = threading.Thread(target=logger.info, args=("from a thread of nobody's",))
    other.start()
    other.join()


@case
def logs_and_fails(ctx):
    logger.error("before it fails")
    raise ValueError("logged")
