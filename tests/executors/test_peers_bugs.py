"""What is known to go wrong in other pools of processes, one test each: none of it may happen here.

That nothing outlives a run that was killed is tried in ``faults/test_workers.py``.
"""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
from collections import Counter

import pytest
from faults.crashing import children_of
from faults.tools import DONE, FAILED, INTERRUPTED, until

import pipeloom
from executors import running
from executors.conftest import others
from executors.misbehaving import DEEDS

DEAD = {
    "dies_while_it_speaks": "SIGKILL",
    "crashes": "SIGSEGV",
    "exits_at_once": "exited with 0",
    "DeadlyToRead": "exited with 7",
}


@pytest.mark.parametrize(("name", "said"), DEAD.items())
def test_the_task_of_a_worker_that_was_killed_answers(misbehaved, name, said):
    """It fails, with how its worker ended."""
    assert misbehaved.failure(name).exception == "WorkerDiedError"
    assert said in misbehaved.failure(name).message


def test_one_death_fails_nobody_else(misbehaved):
    """Whatever stood in a chunk with a deed, or came after it in its worker, is done, at its first try."""
    names = (*DEEDS, "Unpicklable", "Unreadable", "DeadlyToRead")
    rest = [name for deed in names for name in others(deed)]
    found = misbehaved.rows("SELECT key, status, attempt FROM task_runs WHERE key LIKE '% after %' ORDER BY key")

    assert found == sorted((name, "done", 1) for name in rest)
    assert misbehaved.rows("SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


def test_rows_are_stored_once_and_of_the_done_alone(misbehaved):
    """Nothing of a child, of a late thread, or of a try that died."""
    done = [key for (key,) in misbehaved.rows("SELECT key FROM task_runs WHERE status = 'done'")]

    assert sorted(item for (item,) in misbehaved.rows("SELECT item FROM rows")) == sorted(done)
    not_done = misbehaved.report.failed + misbehaved.hung.timed_out
    assert len(done) == len(DEEDS) * 4 + 3 * 4 - not_done


def test_what_the_dead_held_is_free(misbehaved):
    """No lock is shared: one died in the middle of a message, and what it had said before is whole."""
    ((count, first),) = misbehaved.rows("SELECT COUNT(*), SUM(n = 0) FROM floods")

    assert count == first * 1000


def test_an_exception_that_cannot_be_unpickled_is_told_as_it_is(misbehaved):
    """Nothing is unpickled."""
    failure = misbehaved.failure("raises_what_cannot_be_read")

    assert (failure.exception, failure.message) == ("RaisesWhenRead", "1 and 2")


def test_an_input_that_cannot_be_sent_or_read_fails_alone(misbehaved):
    """It says which of the two, and why; it neither hangs nor takes a worker along."""
    sent, read = misbehaved.failure("Unpicklable"), misbehaved.failure("Unreadable")

    assert "cannot be sent" in sent.message
    assert "not to be sent" in sent.message + sent.traceback
    assert "cannot be read" in read.message
    assert "not to be read" in read.message + read.traceback


def test_workers_that_are_replaced(db, read):
    """After five tasks each, at the latest: nobody waits for ever, nothing is lost, and nothing comes twice."""
    report = pipeloom.map(
        running.says_where, range(22), db=db, name="replaced", executor="processes", workers=2, tasks_per_worker=5,
        progress=False, durability="off",
    )  # fmt: skip

    assert report.done == 22
    tasks = Counter(dict(report.results()).values())
    assert max(tasks.values()) <= 5
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(22)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


@pytest.mark.parametrize("options", [{}, {"executor": "processes"}], ids=["threads", "processes"])
def test_endless_inputs_are_not_swallowed(db, options):
    """They are read a little ahead, however long they are."""
    numbers = itertools.count()
    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(
            running.fails_at_fifty_and_asks, numbers, db=db, name="endless", workers=2, on_error="stop",
            progress=False, durability="off", **options,
        )  # fmt: skip

    assert next(numbers) < 2000


# --- programs ---

BY_NAME = """
import sys
from package.program import main
main(sys.argv[1])
"""

HELPER = """
class OfALibrary(Exception):
    pass

def double(n):
    return n * 2
"""

PROGRAM = """
import logging, os, sys
from dataclasses import dataclass
from pathlib import Path

import pipeloom

sys.path.insert(0, "lib")  # relative, and only now
import helper

@dataclass(frozen=True)
class Item:
    n: int

@dataclass(frozen=True)
class Heard:
    n: int
    where: str

class OfTheProgram(Exception):
    pass

def square(item):
    return item.n ** 2

def store(conn, messages):
    conn.executemany("INSERT INTO heard VALUES (?, ?)", [(m.n, m.where) for m in messages])

def commands():
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(place.name)) == os.getsid(0):
                yield (place / "cmdline").read_text().replace("\\0", " ")
        except OSError:
            pass

def work(item, ctx):
    ctx.put(Heard(item.n, type(item).__name__))
    for _ in range(500):
        print("line", item.n, "x" * 50)
    logging.getLogger("program").warning("warned of %d", item.n)
    if item.n == 5:  # a run of its own, in processes of its own; others come behind it in the same worker
        inner = pipeloom.map(square, map(Item, range(3)), db="nested.db", executor="processes", workers=1,
                             progress=False, key=lambda item: item.n)
        assert dict(inner.results()) == {0: 0, 1: 1, 2: 4}
    if item.n == 3:
        raise OfTheProgram("three")
    if item.n == 4:
        raise helper.OfALibrary("four")
    return {
        "double": helper.double(item.n),
        "helpers": [c for c in commands() if "resource_tracker" in c or "forkserver" in c],
        "modules": [name for name in sys.modules if name.startswith("multiprocessing")],
        "arguments": sys.argv[1:],
        "directory": os.getcwd(),
    }

def main(db):
    report = pipeloom.map(
        work, map(Item, range(8)), db=db, executor="processes", workers=1, on_error="collect", progress=False,
        key=lambda item: item.n, handlers={Heard: store}, tables={"heard": {"n": int, "where_": str}},
    )
    found = dict(report.results())
    assert sorted(found) == [0, 1, 2, 5, 6, 7], report
    for n, said in found.items():
        place = {"arguments": sys.argv[1:], "directory": os.getcwd()}
        expected = {"double": 2 * n, "helpers": [], "modules": [], **place}
        assert said == expected, (said, expected)
    assert {(f.key, f.exception, f.message) for f in report.failures} == {
        (3, "OfTheProgram", "three"), (4, "OfALibrary", "four")}
    assert not [name for name in sys.modules if name.startswith("multiprocessing")]
    with pipeloom.connect_readonly(db) as conn:
        assert conn.execute("SELECT * FROM heard ORDER BY n").fetchall() == [(n, "Item") for n in range(8)]
    conn.close()

if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.fixture
def program(tmp_path):
    """A program with a library that it finds by changing ``sys.path``; returns its directory."""
    place = tmp_path / "a 'place' of žluťoučký 🐎"
    package = place / "package"
    (place / "lib").mkdir(parents=True)
    (place / "lib" / "helper.py").write_text(HELPER)
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "program.py").write_text(PROGRAM)
    (package / "__main__.py").write_text(BY_NAME)
    return place


@pytest.mark.parametrize(
    "how", [["package/program.py"], ["-m", "package.program"], ["-m", "package"]], ids=["file", "module", "package"]
)
def test_workers_have_the_modules_of_the_program(start, program, how):
    """Its ``__main__``, classes and messages, ``sys.path``, directory, arguments; its output is seen once.

    No process of ``multiprocessing`` is started, and no warning is given, although all are errors.
    """
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    child = start([sys.executable, "-W", "error", *how, "out.db"], cwd=program, env=buffered)
    code, out, err = child.wait()

    assert code == DONE, err
    assert sorted(err.splitlines()) == [f"warned of {n}" for n in range(8)]
    lines = Counter(out.splitlines())
    assert lines == {f"line {n} {'x' * 50}": 500 for n in range(8)}


CLOSED = """
import os, sys
import pipeloom

def work(n):
    print("printed", n)
    print("printed", n, file=sys.stderr)
    os.write(1, b"written, although it was closed")
    os.write(2, b"written, although it was closed")
    return n

if __name__ == "__main__":
    report = pipeloom.map(work, range(50), db="out.db", executor="processes", workers=1, progress=False)
    os._exit(0 if report.done == 50 else 9)
"""


def test_a_program_without_standard_streams(start, tmp_path):
    """What its tasks write there goes nowhere: least of all into what a worker and its run have in common."""
    (tmp_path / "program.py").write_text(CLOSED)
    words = ["sh", "-c", f"exec {shlex.quote(sys.executable)} program.py <&- >&- 2>&-"]
    code, _, _ = start(words, cwd=tmp_path).wait()

    assert code == DONE


TYPED = """
import sys
if {without}:
    sys.modules["cloudpickle"] = None
import pipeloom

def work(n):
    return n * n

print(dict(pipeloom.map(work, range(3), db="out.db", executor="processes", workers=1, progress=False).results()))
"""


@pytest.mark.parametrize("without", [False, True], ids=["cloudpickle", "nothing"])
def test_a_program_that_is_typed(start, tmp_path, without):
    """Its functions are sent as they are, or refused in a sentence: no worker could import it."""
    child = start([sys.executable, "-"], cwd=tmp_path, stdin=subprocess.PIPE)
    child.process.stdin.write(TYPED.format(without=without))
    child.process.stdin.close()
    child.process.stdin = None
    code, out, err = child.wait()

    if without:
        assert code == FAILED
        assert "install cloudpickle" in err.splitlines()[-1]
    else:
        assert (code, out.strip(), err) == (DONE, "{0: 0, 1: 1, 2: 4}", "")


UNGUARDED = """
import sys
sys.modules["cloudpickle"] = None
import pipeloom

def work(n):
    return n

pipeloom.map(work, range(3), db="out.db", executor="processes", progress=False)
"""


def test_a_program_without_a_guard_is_told(start, tmp_path):
    """In a sentence that says what to do: it neither hangs nor starts ever more processes."""
    (tmp_path / "program.py").write_text(UNGUARDED)
    code, _, err = start([sys.executable, "program.py"], cwd=tmp_path).wait()

    assert code == FAILED
    assert 'if __name__ == "__main__":' in err
    assert "import" in err.splitlines()[-1] or "worker process" in err


def test_an_interrupt_does_not_leak_into_tasks(start, tmp_path, read):
    """Sent to the run, its group, and each worker: what runs is finished, and nobody finds it later."""
    db, notes = tmp_path / "out.db", tmp_path / "notes"
    notes.mkdir()
    words = [sys.executable, "-m", "executors.running", "processes", str(db), str(notes)]
    child = start(words, cwd=os.path.dirname(os.path.dirname(__file__)))
    until(lambda: len(list(notes.iterdir())) > 5, "some are done", child)
    for pid in children_of(child.process.pid):
        os.kill(pid, signal.SIGINT)
    os.killpg(child.process.pid, signal.SIGINT)
    code, _, err = child.wait()

    assert code == INTERRUPTED, err
    assert set(read(db, "SELECT DISTINCT status FROM task_runs")) == {("done",)}
    assert {(int(path.name),) for path in notes.iterdir()} == set(read(db, "SELECT key FROM task_runs"))
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]
