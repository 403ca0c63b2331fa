"""Assembles the parts of a run: what its workers are told, and where its tasks come from."""

from __future__ import annotations

import os
from typing import Any, Final

from pipeloom.data.columns import declared_types
from pipeloom.data.image import CAN_STAGE
from pipeloom.db.connection import MEMORY
from pipeloom.engine.intake import Intake
from pipeloom.engine.job import Job
from pipeloom.engine.line import FoundRequests
from pipeloom.executors import Executor
from pipeloom.ledger import RunLedger
from pipeloom.wire import Brief
from pipeloom.writer import SQLiteWriter
from pipeloom.writer.requests import EarlyRequest

__all__ = ["brief_of", "intake_of"]

_RETURN_S: Final = 1.0  # how long to wait for an abandoned call to return


def brief_of(job: Job, run_id: int | None, executor: Executor[Any]) -> Brief:
    """Return the settings that all tasks of a run share."""
    return Brief(
        function=job.function,
        context=job.context,
        keeps_results=job.keeps_results,
        retry=job.retry,
        timeout_s=job.timeout_s,
        run_id=run_id,
        keyed=job.keyed,
        alter=job.alter,
        max_task_bytes=job.max_task_bytes,
        declared=declared_types(job.tables) if CAN_STAGE else None,
        spool_in=None if str(job.db) == MEMORY else os.path.dirname(os.path.realpath(job.db)),
        executor=executor.name,
        can=executor.can,
        adds_none=job.adds_none,
    )


def intake_of(job: Job, run: RunLedger, writer: SQLiteWriter, workers: int) -> Intake:
    """Return the source of a run's tasks: its inputs, and those that its tasks add.

    Args:
        job: What to do.
        run: Admits inputs.
        writer: Answers if the file has to be read.
        workers: How many tasks run at once.
    """
    admissions = run.admissions
    at_once, admit = (
        (admissions.new_keys, admissions.keys) if job.keyed else (admissions.new_numbers, admissions.numbers)
    )
    intake = Intake(
        job.items,
        keyed=job.keyed,
        key=job.key,
        # The run knows keys that are admitted but not committed, so there is no need to wait for a commit.
        admit=lambda names, *more: at_once(names) or writer.submit(EarlyRequest(lambda _: admit(names, *more))),
        version=job.version,
        workers=1 if job.executor == "asyncio" else workers,  # an event loop takes many, and asks often
        db=str(job.db),
        patience_s=max(job.timeout_s or 0.0, _RETURN_S),
        is_mine=None if job.shard is None else job.shard.holds,
        limits=job.limits,
        found=None if run.found is None else FoundRequests(run.found, writer),
    )
    if run.found is not None:
        run.found.on_more = intake.line.grew
        if run.found.left:
            intake.line.grew()
    return intake
