"""Children that a task forks: what they say for it raises, signals do what they did, and runs of their own work."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import pytest

import pipeloom

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")

PROGRAM = """
import logging, multiprocessing, os, signal, sys, threading, warnings
import pipeloom
warnings.simplefilter("ignore", DeprecationWarning)  # forks beside threads, since 3.12
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")

def heard(word):
    try:
        word()
    except Exception as error:
        return type(error).__name__
    return "nothing"

def in_a_child(child):
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(theirs, ",".join(child()).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    with os.fdopen(ours) as answer:
        return answer.read().split(",")

def speaks(n, ctx):
    if n % 2:  # both with and without something staged
        ctx.write("t", {"who": "parent"})
    def child():
        yield heard(lambda: ctx.write("t", {"who": "child"}))
        yield heard(lambda: ctx.write("t", iter([{"who": "child"}])))
        yield heard(lambda: ctx.execute("DELETE FROM t"))
        yield heard(lambda: ctx.put(pipeloom.MsgWriteRows("t", {"who": "child"})))
        yield heard(lambda: ctx.query("SELECT 1"))
        yield heard(lambda: ctx.checkpoint(1))
        yield heard(lambda: ctx.progress(1, 2, "from the child"))
        yield heard(lambda: pipeloom.current_task().check())
    return in_a_child(child)

def runs(n, ctx):
    def child():
        yield heard(lambda: pipeloom.map(abs, [1], db="out.db", progress=False))
        yield str(pipeloom.map(abs, range(50), db=f"child{n}.db", progress=False).done)
        yield str([signal.getsignal(number) is before for number, before in BEFORE.items()])
    return in_a_child(child)

def sleeps():
    signal.pause()

def terminates(n):
    with ALONE:  # start() waits for whatever children there are, and another thread's is then without a code
        child = multiprocessing.get_context("fork").Process(target=sleeps)
        child.start()
        child.terminate()
        child.join()
        return child.exitcode

ALONE = threading.Lock()  # a stream that another thread writes to as one forks stays locked in the child

def logs(n, ctx):
    def child():
        logging.info("child")
        yield "logged"
    with ALONE:
        logging.info("parent")
        return in_a_child(child)

BEFORE = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP)}
for task in (speaks, runs, terminates, logs):
    report = pipeloom.map(task, range(6), db="out.db", workers=3, progress=False, on_error="collect")
    print(task.__name__, report.done, {str(result) for _, result in report.results()})
with pipeloom.connect_readonly("out.db") as conn:
    print(conn.execute("SELECT who, COUNT(*) FROM t").fetchall())
    print(conn.execute("SELECT message, COUNT(*) FROM pipeloom_logs").fetchall())
"""


def test_a_child_says_nothing_for_its_task_and_is_otherwise_free(tmp_path):
    """Each word raises at the call; progress is nobody's; signals end it; a run on another file works."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    refused = ["WriterBrokenError"] * 6 + ["nothing"] * 2
    assert [line for line in done.stdout.splitlines() if line not in ("parent", "child")] == [
        f"speaks 6 {{{str(refused)!r}}}",
        "runs 6 {\"['DatabaseInUseError', '50', '[True', ' True', ' True]']\"}",
        "terminates 6 {'-15'}",
        "logs 6 {\"['logged']\"}",
        "[('parent', 3)]",
        "[('parent', 6)]",
    ], done.stderr
    assert [done.stdout.splitlines().count(word) for word in ("parent", "child")] == [6, 6]


def test_a_context_stays_in_its_process(db):
    """One sentence, rather than one about a lock that cannot be pickled."""

    def fn(item, ctx):
        with pytest.raises(TypeError, match="cannot be sent to another process"):
            pickle.dumps(ctx)

    pipeloom.map(fn, [1], db=db, name="n")
