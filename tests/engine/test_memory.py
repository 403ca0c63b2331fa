"""What runs take of memory and of the process: bounded in bytes during one, and nothing once it is over."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections import Counter

import pytest

import pipeloom

LARGE = """
import sys, pipeloom

BODY = "x" * (8 * 2**20)
N = 20


def peak_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def made(number):
    return BODY[:-1] + chr(65 + number % 20)


def returned(number):
    return made(number)


def taken(text):
    return len(text)


before = peak_mib()
options = dict(db=sys.argv[1], workers=2, durability="off", progress=False, on_error="collect")
report = pipeloom.map(returned, range(N), **options)
assert sum(len(result) for _, result in report.results()) == N * len(BODY)
numbers = iter(range(N))
assert pipeloom.map(taken, map(made, range(N)), key=lambda text: next(numbers), **options).done == N
print(peak_mib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_things_that_wait_are_bounded_by_their_bytes(tmp_path):
    """Twenty of 8 MiB each: results on their way to the file and back, and inputs."""
    ran = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "out.db")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"},  # what is freed goes back to the system at once
    )
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 130


def fails(number):
    """Fail for an odd number."""
    logging.getLogger("app").info("a line of %s", number)
    if number % 2:
        raise ValueError(number)


def interrupts(number):
    """Press Ctrl-C in the middle."""
    if number == 5:
        os.kill(os.getpid(), signal.SIGINT)


def one_of_each_kind(top):
    """Run once each in memory, on a file, with failures, left early, interrupted, and where no file can be."""
    quiet = {"progress": False, "workers": 2}
    db = top / "out.db"
    pipeloom.map(abs, range(9), db=":memory:", **quiet)
    pipeloom.map(abs, range(9), db=db, **quiet)
    pipeloom.map(fails, range(9), db=db, on_error="collect", retries=pipeloom.Retry(2, delay_s=0), **quiet)
    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(fails, iter(range(1000)), db=":memory:", on_error="stop", **quiet)
    with pytest.raises(pipeloom.RunInterruptedError):
        pipeloom.map(interrupts, (n for n in range(100_000)), db=":memory:", **quiet)
    with pytest.raises(pipeloom.StorageError):
        pipeloom.map(abs, [1], db=top / "nowhere" / "out.db", **quiet)
    for path in top.iterdir():
        path.unlink()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_runs_that_are_over_leave_nothing(tmp_path):
    """No descriptor, thread, handler, temporary file or object of ours more than the runs before."""

    def state():
        gc.collect()
        return (
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
            list(logging.getLogger().handlers),
            signal.getsignal(signal.SIGINT),
            list(tmp_path.iterdir()),
            Counter(type(each) for each in gc.get_objects() if str(type(each).__module__).startswith("pipeloom")),
        )

    for _ in range(2):
        one_of_each_kind(tmp_path)
    before = state()
    for _ in range(6):
        one_of_each_kind(tmp_path)

    assert state() == before


def test_inputs_are_let_go_of_when_the_run_is_over(db):
    """At once, without a garbage collection: they may be large."""

    class Input:
        """May be referred to weakly."""

    inputs = [Input() for _ in range(3)]
    alive = [weakref.ref(each) for each in inputs]
    gc.disable()
    try:
        pipeloom.map(id, inputs, db=db, key=id, progress=False)
        del inputs
        assert not any(each() for each in alive)
    finally:
        gc.enable()
