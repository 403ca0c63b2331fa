"""What is told of a worker that died."""

from __future__ import annotations

import signal

import pytest

from pipeloom.errors import WorkerDiedError
from pipeloom.executors.processes.crash import death, frames_of, how_it_ended
from pipeloom.worker.perform import perform

WORDS = f"""Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3/ctypes/__init__.py", line 519 in string_at
  File "/home/u/load.py", line 6 in inner
  File "/home/u/load.py", line 9 in load
  File "{perform.__code__.co_filename}", line 51 in perform
  File "/home/u/never.py", line 1 in ours
"""


def test_the_frames_are_those_of_the_task_and_read_as_a_traceback():
    assert frames_of(WORDS) == (
        '  File "/home/u/load.py", line 9, in load\n'
        '  File "/home/u/load.py", line 6, in inner\n'
        '  File "/usr/lib/python3/ctypes/__init__.py", line 519, in string_at\n'
    )
    assert frames_of("") == ""


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exited with 0"), (7, "exited with 7"), (-9, "was ended by SIGKILL"), (-77, "was ended by signal 77")],
)
def test_how_it_ended(code, words):
    assert how_it_ended(code) == words


def test_a_crash_has_its_fault_and_its_place():
    error, trace = death(-signal.SIGSEGV, WORDS, None)

    assert isinstance(error, WorkerDiedError)
    assert (error.signal, error.exit_code) == (signal.SIGSEGV, None)
    assert str(error) == "its worker process was ended by SIGSEGV (Segmentation fault)"
    assert trace.startswith("Its process was here when it died:\n")
    assert trace.endswith(f"WorkerDiedError: {error}\n")


def test_what_the_run_ended_it_for_is_the_error():
    reason = MemoryError("too much")

    assert death(-9, "", reason) == (reason, "MemoryError: too much\n")
