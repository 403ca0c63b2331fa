"""Dask: a cluster of our own, and those of others, whose workers, schedulers and clients come and go."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from distributed import Client
from faults.tools import INTERRUPTED, KILLED, Start, until

import pipeloom
from executors import running
from executors.conftest import KINDS
from executors.watching import Watcher
from pipeloom.worker.current import NotGuardedError

HERE = Path(__file__).parent.parent
DASK = KINDS[-1]
ROWS = {"rows": {"n": int}}


@pytest.fixture(scope="package")
def address(opened_kind):
    """The scheduler of a cluster of two processes."""
    return opened_kind(DASK).options["executor"]


def load(n, ctx):
    """Write a row, and say how far it is."""
    ctx.write("rows", {"n": n})
    for _ in ctx.track(range(3)):
        pass
    return n


def loaded(executor, db, items=range(50), function=load, **options):
    """Run a function on Dask."""
    return pipeloom.map(
        function, items, db=db, name="load", executor=executor, tables=ROWS, progress=False, durability="off",
        **options,
    )  # fmt: skip


# --- what is refused ---


@pytest.mark.parametrize("option", ["timeout", "memory_mb", "tasks_per_worker"])
def test_what_it_cannot_is_refused_at_the_call(db, option):
    """In one sentence, before anything is opened."""
    with pytest.raises(ValueError, match=f"{option}= is not possible on Dask: "):
        loaded("tcp://127.0.0.1:1", db, **{option: 5})
    assert not db.exists()


def test_without_dask(db, monkeypatch):
    """It says what to install."""
    monkeypatch.setattr("pipeloom.engine.worker_arguments.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"needs Dask: pip install 'pipeloom\[dask\]'"):
        loaded("dask", db)
    assert not db.exists()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1", "missing port number"),
        ("xyz://127.0.0.1:1", "unknown address scheme"),
    ],
)
def test_an_address_that_is_none(db, address, said):
    """It says what is wrong with it."""
    with pytest.raises(pipeloom.ExecutorBrokenError, match=f"no Dask scheduler answers at {address} .{said}"):
        loaded(address, db)
    assert not db.exists()


def test_a_scheduler_that_does_not_answer(db):
    """Since nobody listens there."""
    with pytest.raises(
        pipeloom.ExecutorBrokenError, match=r"no Dask scheduler answers at tcp://127.0.0.1:1 .*refused"
    ):
        loaded("tcp://127.0.0.1:1", db)
    assert not db.exists()


def test_what_is_no_client(db):
    """A cluster, and a client for coroutines."""

    class Cluster:
        scheduler_address = "tcp://127.0.0.1:1"

    with pytest.raises(TypeError, match="not Cluster: pass a client of the cluster, or its scheduler_address"):
        loaded(Cluster(), db)

    class ForCoroutines(Client):
        asynchronous = True

        def __init__(self):
            pass

        def __del__(self):
            pass

    with pytest.raises(TypeError, match="an asynchronous Dask client"):
        loaded(ForCoroutines(), db)


def test_a_program_without_a_guard(db, tmp_path, monkeypatch):
    """Its workers would begin the run again."""
    main = tmp_path / "main.py"
    main.write_text("import pipeloom\n")
    module = type(sys)("__main__")
    module.__file__ = str(main)
    monkeypatch.setitem(sys.modules, "__main__", module)
    with pytest.raises(NotGuardedError, match='put the call under if __name__ == "__main__":'):
        loaded("dask", db)
    assert not db.exists()


# --- on a cluster that is there ---


def test_ten_thousand_tasks(address, db, read):
    """With rows and progress, on all of its workers."""
    report = loaded(address, db, range(10_000))

    assert report.done == 10_000
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n), SUM(n) FROM rows") == [(10_000, 10_000, 49_995_000)]
    assert read(db, "SELECT executor, workers, status FROM pipeloom_runs") == [("dask", 2, "done")]


def test_a_client_of_the_callers(address, tmp_path, read):
    """It is used by two runs at once, each of which sees its own tasks, and left open."""
    files = [tmp_path / f"{n}.db" for n in range(2)]
    with Client(address, set_as_default=False) as client:
        runs = [threading.Thread(target=loaded, args=(client, file, range(200))) for file in files]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        assert client.submit(round, 0.5).result() == 0
    for file in files:
        assert read(file, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(200, 200)]


def test_a_client_that_is_closed(address, db):
    """In a sentence."""
    with Client(address, set_as_default=False) as client:
        pass
    with pytest.raises(pipeloom.ExecutorBrokenError, match="a closed Dask client"):
        loaded(client, db)


def test_fewer_workers_than_there_are(address, db, read):
    """So many tasks at once."""
    report = loaded(address, db, workers=1)

    assert report.done == 50
    assert read(db, "SELECT workers FROM pipeloom_runs") == [(1,)]


def of_this_program(item):
    """A function, and a class, that workers do not have."""
    return type(item).__name__


def test_what_stands_in_the_program_itself(address, db, monkeypatch):
    """Functions and classes of inputs are sent as they are."""

    class Item:
        def __init__(self, n):
            self.n = n

    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "Item", Item, raising=False)
    Item.__module__ = of_this_program.__module__ = "__main__"
    Item.__qualname__ = "Item"
    monkeypatch.setattr(main, "of_this_program", of_this_program, raising=False)
    report = loaded(address, db, [Item(n) for n in range(3)], of_this_program, key=lambda item: item.n)

    assert dict(report.results()) == dict.fromkeys(range(3), "Item")


# --- workers, schedulers and clients that go away ---


DEADLY = (30, 34)  # others wait beside them


def is_deadly(n, ctx):
    """End the worker at two of the inputs."""
    ctx.write("rows", {"n": n})
    if n in DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    running.sleep(0.002)


def test_workers_that_die_of_their_tasks(address, db, read):
    """These are charged, and nobody else, although others waited beside them."""
    report = loaded(address, db, range(100), is_deadly, on_error="collect")

    assert {failure.key: failure.exception for failure in report.failures} == dict.fromkeys(
        DEADLY, "WorkerDiedError"
    )
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(98, 98)]
    assert "its worker at tcp://127.0.0.1:" in report.failures[0].message


def takes_a_moment(n, ctx):
    """Take 10 ms."""
    load(n, ctx)
    running.sleep(0.01)


def test_workers_that_somebody_kills(address, db, read):
    """What they had is sent again, and nobody is charged."""

    def kill():
        Watcher(db).until("SELECT COUNT(*) > 100 FROM task_runs WHERE status = 'done'", [(1,)])
        with Client(address, set_as_default=False) as client:
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    report = loaded(address, db, range(400), takes_a_moment)
    killing.join()

    assert report.done == 400
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(400, 400)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


def cluster_at(start: Start, port: int = 0):
    """Start a cluster, in a program of its own."""
    from subprocess import PIPE

    child = start([sys.executable, "-m", "executors.cluster", str(port)], cwd=HERE, stdin=PIPE)
    assert child.process.stdout is not None
    return child, child.process.stdout.readline().strip()


def test_a_scheduler_that_is_started_again(db, read, start):
    """With its workers: what was under way is sent again, and stored once."""
    first, address = cluster_at(start)

    def restart():
        Watcher(db).until("SELECT COUNT(*) > 50 FROM task_runs WHERE status = 'done'", [(1,)])
        first.kill()
        first.process.wait()
        cluster_at(start, int(address.rpartition(":")[2]))

    restarting = threading.Thread(target=restart)
    restarting.start()
    report = loaded(address, db, range(200), takes_a_moment)
    restarting.join()

    assert report.done == 200
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(200, 200)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(0,)]


def test_stopped_and_called_again(address, db, read, start, tmp_path):
    """Killed, interrupted, and done at last: each row once, and of a cluster of ours no process is left."""

    def begun(how, count):
        child = start([sys.executable, "-m", "executors.running", how, str(db), str(tmp_path)], cwd=HERE)
        until(lambda: len([name for name in os.listdir(tmp_path) if name.isdigit()]) > count, "some", child)
        return child

    killed = begun("dask", 10)
    killed.process.kill()
    assert killed.process.wait() == KILLED
    killed.assert_gone()

    interrupted = begun(address, 40)
    os.killpg(interrupted.process.pid, signal.SIGINT)
    assert interrupted.wait()[0] == INTERRUPTED
    sql = "SELECT COUNT(*) FROM task_runs WHERE status NOT IN ('done', 'interrupted')"
    assert read(db, sql) == [(0,)]

    report = pipeloom.map(
        partial(running.notes_itself_and_writes, str(tmp_path)), range(120), db=db, name="interrupted",
        executor=address, progress=False,
    )  # fmt: skip
    assert report.done + report.skipped == 120
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM rows") == [(120, 120)]
