"""The caller's context variables where its tasks, its inputs and its keys are: there, and each call's own."""

from __future__ import annotations

import contextvars
import decimal
import logging
import threading
from contextlib import closing

import pipeloom
from pipeloom.worker.current import CallerContext

request = contextvars.ContextVar("request", default="nobody's")


def test_each_call_has_the_callers_variables_and_none_leaks_to_another(db):
    """Nor to the caller, nor to the next try of a task. The decimal context too, which is changed in place."""
    seen = []

    def look(who):
        seen.append((who, request.get(), decimal.getcontext().prec))
        request.set(f"{who}'s")
        decimal.getcontext().prec = 4

    def inputs():
        look("inputs")
        yield 1
        look("inputs")
        yield 2

    def key(item):
        look("key")
        return item

    def task(item):
        look(item)
        if item == 1 and pipeloom.current_task().attempt == 1:
            raise OSError

    def program():
        request.set("the caller's")
        decimal.getcontext().prec = 17
        pipeloom.map(
            task, inputs(), db=db, workers=1, key=key, progress=False, retries=pipeloom.Retry(2, delay_s=0)
        )
        look("caller")

    contextvars.copy_context().run(program)

    in_tasks = [call for call in seen if call[0] in (1, 2)]
    assert sorted(in_tasks) == [(1, "the caller's", 17), (1, "the caller's", 17), (2, "the caller's", 17)]
    assert seen[-1] == ("caller", "the caller's", 17)
    # Inputs and their keys are one stream of calls in one thread: what one sets, the next one has.
    reading = [call for call in seen if call[0] in ("inputs", "key")]
    assert reading[0] == ("inputs", "the caller's", 17)
    assert [who for _, who, _ in reading[1:]] == ["inputs's", "key's", "inputs's"]


def test_a_caller_that_has_no_decimal_context_gets_none():
    """Whoever makes it first makes it for itself."""
    context = contextvars.Context()
    copies = [context.run(CallerContext).copy() for _ in range(2)]
    first, second = (copy.run(decimal.getcontext) for copy in copies)

    assert first is not second
    assert len(context) == 0


def test_inputs_of_a_run_within_a_task_belong_to_that_task(db, tmp_path):
    """They log as it does; its own tasks are theirs."""

    def outer(_):
        def inputs():
            logging.getLogger("app").warning("from the inputs of %s", pipeloom.current_task().key)
            yield "inner"

        def inner(_):
            logging.getLogger("app").warning("from %s", pipeloom.current_task().key)

        pipeloom.map(inner, inputs(), db=tmp_path / "inner.db", progress=False, name="inner")

    pipeloom.map(outer, ["outer"], db=db, progress=False, name="outer")
    heard = []
    for path in (db, tmp_path / "inner.db"):
        with closing(pipeloom.connect_readonly(path)) as conn:
            heard.append(conn.execute("SELECT message FROM pipeloom_logs").fetchall())
    assert heard == [[("from the inputs of outer",)], [("from inner",)]]


def test_a_thread_started_with_a_copy_of_the_context_is_the_tasks(db):
    """As before each task had a context of its own."""
    keys = []

    def task(_):
        copy = contextvars.copy_context()
        thread = threading.Thread(target=copy.run, args=(lambda: keys.append(pipeloom.current_task().key),))
        thread.start()
        thread.join()

    pipeloom.map(task, ["a"], db=db, progress=False, name="threads")
    assert keys == ["a"]
