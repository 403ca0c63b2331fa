"""Converts outcomes and outputs to messages with attachments, and back."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pipeloom.data.image import Buffer
from pipeloom.data.packed import Chunk, pack, unpack
from pipeloom.data.spool import Spool
from pipeloom.executors.remote.forms import Ended, Parcel
from pipeloom.executors.remote.raised import described, raised_again
from pipeloom.wire import NO_PROGRESS, Outcome, Output, Staged
from pipeloom.worker.task import Task

__all__ = ["NONE", "Attached", "Luggage", "ended", "outcome_of", "output_of", "parcel_of"]


class Luggage(NamedTuple):
    """The attachments of an outgoing message: the images of an output, and the file descriptor of its spool."""

    attached: Sequence[Buffer] = ()
    descriptors: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self.attached or self.descriptors)


class Attached(Protocol):
    """The attachments of a received message; their owner closes them."""

    @property
    def attached(self) -> Sequence[Buffer]:
        """The images."""

    @property
    def descriptors(self) -> Sequence[int]:
        """File descriptors."""


NONE = Luggage()


def ended(task: Task, serial: int, said: int, name: str, outcome: Outcome) -> tuple[Ended, Luggage]:
    """Return an outcome in the form in which it is sent; the worker's side.

    Args:
        task: The task.
        serial: The serial number under which it was sent.
        said: How many words the worker sent before this.
        name: The name under which it was sent.
        outcome: Its outcome.
    """
    status, message, result, failed, staged, finished_at, elapsed_s = outcome
    parcel, luggage = (None, NONE) if staged is None else parcel_of(*staged)
    word = Ended(
        serial,
        said,
        status,
        message,
        result,
        None if failed is None else described(*failed),
        parcel,
        finished_at,
        elapsed_s,
        task.started_at,
        None if task.name == name else task.name,
        None if task.progress is NO_PROGRESS else task.progress,
    )
    return word, luggage


def outcome_of(word: Ended, luggage: Attached = NONE) -> Outcome:
    """Return an outcome as it was before it was sent; the run's side.

    Args:
        word: The outcome, as it was sent.
        luggage: Its attachments.

    Raises:
        ValueError: Its output or its delay was not written by our code.
    """
    raised = word.raised
    failed = None
    if raised is not None:
        after_s = raised.decision.after_s
        if after_s is not None and not 0 <= after_s < math.inf:
            raise ValueError(f"a retry after {after_s} s")
        failed = raised_again(raised), raised.trace, raised.decision
    staged: Staged | None = None
    if word.output is not None:
        staged = output_of(word.output, luggage), word.output.rows, word.output.size
    return word.status, word.message, word.result, failed, staged, word.finished_at, word.elapsed_s


def parcel_of(output: Output, rows: int, size: int) -> tuple[Parcel, Luggage]:
    """Return an output in the form in which it is sent, and its attachments."""
    rest: Chunk = [part for part in output if not isinstance(part, Spool)]
    spools = [part for part in output if isinstance(part, Spool)]  # at most one
    parts, images = pack(rest)
    luggage = Luggage([image.data for image in images], [spool.fileno() for spool in spools])
    return Parcel(parts, spools[0].plain() if spools else None, rows, size), luggage


def output_of(parcel: Parcel, luggage: Attached) -> Output:
    """Return an output as it was before it was sent; its file descriptors are duplicates.

    Raises:
        ValueError: It was not written by our code.
    """
    images, files = luggage.attached, luggage.descriptors
    found: Output = []
    if parcel.spool is not None:
        if len(files) != 1 or not stat.S_ISREG(os.fstat(files[0]).st_mode):
            raise ValueError("an output without its file")
        try:
            found.append(Spool.of(os.dup(files[0]), parcel.spool))
        except (TypeError, LookupError, AttributeError, OverflowError) as error:
            raise ValueError("a file of rows that was not written by pipeloom") from error
    found += unpack(parcel.parts, images)
    return found
