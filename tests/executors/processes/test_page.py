"""What a run and a worker process have in common: seen whole, and there after the worker's death."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pipeloom.executors.processes.page import NEVER, Page, new_file
from pipeloom.wire import NO_PROGRESS


@pytest.fixture
def sides():
    """The worker's side and the run's."""
    fd = new_file()
    worker, run = Page(fd), Page(fd)
    os.close(fd)
    run.limit(NEVER)
    yield worker, run
    worker.close()
    run.close()


def test_the_task_that_runs_is_seen_from_its_claim_to_its_end(sides):
    worker, run = sides
    assert run.running == 0

    assert worker.begin(7, 12.5)
    assert (run.running, run.begun, run.since) == (7, 7, 12.5)

    worker.end(7)
    assert (run.running, run.begun) == (0, 7)


def test_no_task_begins_from_the_limit_on(sides):
    worker, run = sides
    run.limit(3)

    assert [worker.begin(serial, 0.0) for serial in (2, 3, 4)] == [True, False, False]


def test_outcomes_are_read_once_each_half_by_itself(sides):
    worker, run = sides
    run.start_chunk(0)
    run.start_chunk(1)
    assert worker.put(0, b"one")
    assert worker.put(1, b"other")
    found, read = run.outcomes(0, 0)
    assert found == [b"one"]

    assert worker.put(0, b"two")
    assert run.outcomes(0, read)[0] == [b"two"]
    assert run.outcomes(1, 0)[0] == [b"other"]

    run.start_chunk(0)
    assert run.outcomes(0, 0)[0] == []


def test_an_outcome_for_which_there_is_no_room_is_not_put(sides):
    worker, run = sides
    run.start_chunk(0)
    large = bytes(100_000)

    assert worker.put(0, large)
    assert not worker.put(0, large)
    assert run.outcomes(0, 0)[0] == [large]


@pytest.mark.parametrize("filled", [-1, 3, 2**40])
def test_what_was_not_put_there_is_not_read(sides, filled):
    """A worker may write anything into its memory."""
    worker, run = sides
    run.start_chunk(0)
    worker.put(0, b"one")
    worker._words[4] = filled

    with pytest.raises(ValueError, match="outcome"):
        run.outcomes(0, 0)


@pytest.mark.parametrize("filled", [-(2**62), -1, 2**40])
def test_nothing_is_put_beyond_the_memory(sides, filled):
    """A task that writes into the worker's memory does not end its worker: the outcome goes another way."""
    worker, run = sides
    run.start_chunk(0)
    worker._words[4] = filled

    assert not worker.put(0, b"one")


def test_progress_is_new_once_and_belongs_to_its_task(sides):
    worker, run = sides
    worker.show(7, (3.0, None, "héllo"))

    progress, version = run.progress(7, 0)
    assert progress == (3.0, None, "héllo")
    assert run.progress(7, version) is None
    assert run.progress(8, 0) is None

    worker.show(8, (1.0, 2.0, ""))
    assert run.progress(8, version)[0] == (1.0, 2.0, NO_PROGRESS[2])


def test_progress_that_several_threads_write_is_never_seen_torn(sides):
    """The step, the total and the message of one call belong together."""
    worker, run = sides
    stop = threading.Event()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0002)  # so that threads meet halfway as often as they can

    def write(start):
        number = start
        while not stop.is_set():
            number += 2
            worker.show(1, (float(number), float(-number), str(number)))

    writers = [threading.Thread(target=write, args=(start,)) for start in (1, 2)]
    for writer in writers:
        writer.start()
    seen, version = 0, 0
    while seen < 500:
        if (news := run.progress(1, version)) is not None:
            (step, total, message), version = news
            assert step == -total == float(message)
            seen += 1
    stop.set()
    for writer in writers:
        writer.join()
    sys.setswitchinterval(interval)


def test_the_run_says_whether_tasks_should_end_and_how_busy_the_writer_is(sides):
    worker, run = sides
    assert not worker.is_cancelling

    run.tell(cancelling=True, backlog=(3, 1024))

    assert worker.is_cancelling
    assert worker.backlog == (3, 1024)


def test_a_forked_child_writes_where_nobody_sees_it(sides):
    worker, run = sides
    worker.orphan()

    assert worker.begin(5, 1.0)
    worker.show(5, (1.0, 1.0, "child"))

    assert run.running == 0
    assert run.progress(5, 0) is None
