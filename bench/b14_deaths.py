"""B14: what a dead worker costs: the time until it is replaced, and which other tasks suffer; and a dead parent."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import peers
from common import Outcome, Target, Workload, main, rows, verify
from family import alive, descendants

WORKERS = 2
PATIENCE_S = 20.0
LEFT_AFTER_S = 1.0


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    sleep(PATIENCE_S)


def left() -> None:
    os._exit(3)


def until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Look a thousand times a second; return whether the condition became true in time."""
    deadline = monotonic() + patience_s
    while not is_so():
        if monotonic() > deadline:
            return False
        sleep(0.001)
    return True


# --- one death ---


def scene(die: Callable[[], None], folder: Path, item: int) -> None:
    """The first task occupies a worker, the second kills the other one, so the third can only run in a new one."""
    died, began = folder / "died", folder / "began"
    if item == 0:
        verify(until(began.exists), True)
    elif item == 1:
        _stamp(died)
        die()
    elif item == 2:
        _stamp(began)


def _stamp(path: Path) -> None:
    half = path.with_suffix(".half")
    half.write_text(repr(monotonic()))  # one clock for all processes
    half.replace(path)


def inputs(folder: Path, size: int) -> Iterator[int]:
    """Yield the third when the worker is dead: no other can have run it before."""
    yield from (0, 1)
    verify(until((folder / "died").exists), True)
    yield from range(2, size)


def one_death(die: Callable[[], None], size: int, db: Path) -> Outcome:
    import pipeloom

    folder, size = db.parent, max(size, 3)
    known: list[float] = []

    def look() -> None:
        until((folder / "died").exists)
        with closing(sqlite3.connect(db)) as conn:
            sql = "SELECT COUNT(*) FROM task_runs WHERE status = 'error'"
            until(lambda: conn.execute(sql).fetchone()[0] > 0)
        known.append(monotonic())

    looking = threading.Thread(target=look)
    looking.start()
    pipeloom.map(
        partial(scene, die, folder),
        inputs(folder, size),
        db=db,
        name="b14",
        workers=WORKERS,
        executor="processes",
        on_error="collect",
        progress=False,
    )
    looking.join()
    died, began = (float((folder / name).read_text()) for name in ("died", "began"))
    verify(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'error'"), [(1,)])
    known_s, replaced_s = known[0] - died, began - died
    more = {"known_ms": known_s * 1e3, "replaced_ms": replaced_s * 1e3, "innocents": float(innocents(db, size - 1))}
    return Outcome(size, max(known_s, replaced_s), more)


def innocents(db: Path, expected: int) -> int:
    """Return how many innocent tasks are not done in their first attempt."""
    return expected - int(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done' AND attempt = 1")[0][0])


# --- one of twenty tasks kills its worker ---


def one_of_twenty(item: int) -> int:
    if item % 20 == 7:
        killed()
    return item


def many_deaths(size: int, db: Path) -> Outcome:
    import pipeloom

    began = monotonic()
    pipeloom.map(
        one_of_twenty,
        range(size),
        db=db,
        name="b14",
        workers=WORKERS,
        executor="processes",
        on_error="collect",
        progress=False,
    )
    seconds = monotonic() - began
    culprits = len(range(7, size, 20))
    verify(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'error'"), [(culprits,)])
    return Outcome(size, seconds, {"innocents": float(innocents(db, size - culprits))})


def many_deaths_of_peer(submitting: Callable[[int], peers.Submit], size: int, _db: Path) -> Outcome:
    began = monotonic()
    answered = submitting(WORKERS)(one_of_twenty, range(size))
    seconds = monotonic() - began
    return Outcome(size, seconds, {"innocents": float(size - len(range(7, size, 20)) - answered)})


# --- the parent is killed ---


def asleep(folder: Path, item: int) -> None:
    (folder / f"{item}.runs").touch()
    sleep(60)


def sleepers(kind: str, folder: Path) -> None:
    """Run until killed."""
    work: Any = partial(asleep, folder)
    if kind == "ours":
        import pipeloom

        pipeloom.map(
            work, range(WORKERS), db=folder / "bench.db", name="b14", executor="processes", workers=WORKERS
        )
    else:
        list(POOLS[kind](WORKERS)(work, range(WORKERS), 1))


def dead_parent(kind: str, _size: int, db: Path) -> Outcome:
    folder = db.parent
    program = f"import b14_deaths, pathlib; b14_deaths.sleepers({kind!r}, pathlib.Path({str(folder)!r}))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.DEVNULL) as parent:
        verify(until(lambda: len(list(folder.glob("*.runs"))) == WORKERS), True)
        family = descendants(parent.pid)
        parent.kill()
        began = monotonic()
    verify(len(family) >= WORKERS, True)
    until(lambda: not any(map(alive, family)), LEFT_AFTER_S)
    seconds, orphans = monotonic() - began, set(filter(alive, family))
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    return Outcome(1, seconds, {"orphans": float(len(orphans))})


POOLS: dict[str, Callable[[int], peers.Pool]] = {
    "ProcessPoolExecutor": peers.executor_map,
    "multiprocessing.Pool": peers.pool_imap,
    "loky": peers.loky_map,
    "mpire": peers.mpire_imap,
}
NEEDS = {"loky": "loky", "mpire": "mpire"}
MANY, PARENT = "one of 20 tasks kills its worker", "kill -9 of the parent"

WORKLOAD = Workload(
    name="B14",
    what="a dead worker, and a dead parent",
    size=400,
    tiny=40,
    variants={
        "kill -9 of a worker": partial(one_death, killed),
        "os._exit of a worker": partial(one_death, left),
        MANY: many_deaths,
        f"{MANY}, ProcessPoolExecutor": partial(many_deaths_of_peer, peers.executor_submit),
        f"{MANY}, loky": partial(many_deaths_of_peer, peers.loky_submit),
        PARENT: partial(dead_parent, "ours"),
        **{f"{PARENT}, {name}": partial(dead_parent, name) for name in POOLS},
    },
    needs={f"{what}, {name}": module for what in (MANY, PARENT) for name, module in NEEDS.items()},
    targets=(
        Target("kill -9 of a worker", None, 0.3, figure="seconds", at_least=False),
        Target("os._exit of a worker", None, 0.3, figure="seconds", at_least=False),
        *(
            Target(name, None, 0, figure="innocents", at_least=False)
            for name in ("kill -9 of a worker", "os._exit of a worker", MANY)
        ),
        Target(PARENT, None, 0, figure="orphans", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
