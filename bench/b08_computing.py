"""B8: workers that compute 100 µs of Python per message."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 2
ROUNDS = 5000  # about 100 µs


def compute() -> int:
    total = 0
    for n in range(ROUNDS):
        total += n
    return total


def old_worker(task: tuple[int, int], msg_q: Any) -> None:
    from pipeloom import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted

    number, messages = task
    msg_q.put(MsgTaskStarted(number, f"task {number}", "t"))
    for step in range(messages):
        compute()
        msg_q.put(MsgTaskProgress(number, step, messages, "computing"))
    msg_q.put(MsgTaskFinished(number, "done", "t", "ok"))


def through_run_pipeline(size: int, db: Path) -> Outcome:
    import pipeloom

    tasks = [(number, 100) for number in range(1, size // 100 + 1)]
    pipeloom.run_pipeline  # noqa: B018 - imported before the timing starts
    seconds = timed(lambda: pipeloom.run_pipeline(tasks, db, worker_fn=old_worker, workers=WORKERS, progress=False))
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", len(tasks))])
    return Outcome(len(tasks) * 100, seconds)


def through_writer(size: int, db: Path) -> Outcome:
    """Messages on the channel, one thread per worker, all stored."""
    from pipeloom import SENTINEL, Channel, SQLiteWriter

    source: Channel[Any] = Channel()
    writer = SQLiteWriter(db, source)
    writer.start()
    tasks = [(number, 100) for number in range(1, size // 100 + 1)]

    def loop(part: int) -> None:
        for task in tasks[part::WORKERS]:
            old_worker(task, source)

    def work() -> None:
        _threads(loop)
        source.put(SENTINEL)
        writer.join()

    seconds = timed(work)
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", len(tasks))])
    return Outcome(len(tasks) * 100, seconds)


def _threads(loop: Any) -> None:
    threads = [threading.Thread(target=loop, args=(part,)) for part in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def alone(size: int, _db: Path) -> Outcome:
    """The limit: the computation in the same threads, without messages."""

    def loop(part: int) -> None:
        for _ in range(part, size // 100, WORKERS):
            for _ in range(100):
                compute()

    return Outcome(size // 100 * 100, timed(lambda: _threads(loop)))


WORKLOAD = Workload(
    name="B8",
    what="workers computing 100 µs of Python per message",
    size=40_000,
    tiny=200,
    variants={
        "run_pipeline": through_run_pipeline,
        "writer on our channel": through_writer,
        "computing alone": alone,
    },
    targets=(
        Target("run_pipeline", "computing alone", 1.10, figure="seconds", at_least=False),
        Target("writer on our channel", "computing alone", 1.10, figure="seconds", at_least=False),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
