"""Chunks of tasks as bytes, for executors that take a function and bytes, and give back bytes.

::

    run ── Assignment (once a run), Order (a chunk) ──▶ run_chunk
    run ◀── Done: what is left of each task; or Failure ── run_chunk

What comes back is MessagePack of the forms below, so that nothing of it is executed. What a task wrote is in it as
bytes: images, and the content of a file that memory did not hold.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import msgspec

from pipeloom.executors.remote.calls import Call
from pipeloom.executors.remote.forms import Ended, Failure, Form, Line, Said
from pipeloom.executors.remote.outcomes import Luggage
from pipeloom.executors.remote.program import Packed
from pipeloom.wire import Brief

__all__ = [
    "TOKEN_BYTES",
    "Assignment",
    "Done",
    "Freight",
    "Left",
    "Order",
    "Spoken",
    "assigned",
    "assignment_of",
    "freight_of",
    "read_done",
    "read_order",
    "unloaded",
]

TOKEN_BYTES: Final = 16
_PIECE: Final = 2**28  # bytes; MessagePack takes no more than 4 GiB at once


class Assignment(NamedTuple):
    """What is the same for all chunks of a run.

    Attributes:
        home: The process of the run, see ``run_chunk.this_process``.
        brief: What is the same for all tasks, without function and policy.
        packed: The function, the retry policy and ``local``, see ``program.packed``.
        keeps_logs: What tasks log is stored.
        level: The root logger's.
        kinds: The messages that somebody handles, as ``module:qualname``.
    """

    home: str
    brief: Brief
    packed: Packed
    keeps_logs: bool
    level: int
    kinds: frozenset[str]


def assigned(token: bytes, version: str, assignment: Assignment) -> bytes:
    """Return an assignment as it is sent: pickled, since it is the run's own word.

    Args:
        token: Of the run, so that a worker reads the rest once.
        version: Of pipeloom, which both sides must have.
        assignment: It.
    """
    # Twice, so that a worker with another version need not make sense of it before it says so.
    return token + pickle.dumps((version, pickle.dumps(assignment, pickle.HIGHEST_PROTOCOL)))


def assignment_of(data: bytes, version: str) -> Assignment:
    """Return what was assigned; the worker's side.

    Raises:
        RuntimeError: The run has another version of pipeloom.
    """
    theirs, assignment = pickle.loads(memoryview(data)[TOKEN_BYTES:])
    if theirs != version:
        raise RuntimeError(f"the run has pipeloom {theirs}, and its worker {version}: install the same one")
    found: Assignment = pickle.loads(assignment)
    return found


class Order(Form):
    """A chunk.

    Attributes:
        number: Its own; no other chunk of the run has it.
        patience_s: After so many seconds no further task of it is begun: those go back.
        calls: n tasks.
    """

    number: int
    patience_s: float
    calls: list[Call]


# --- what comes back ---


class Freight(Form):
    """What is attached to an output.

    Attributes:
        images: Those of :mod:`pipeloom.data.image`.
        file: The content of the file of a spool, in pieces; empty without one.
    """

    images: list[memoryview]
    file: list[memoryview]


class Spoken(Form):
    """A message that is to be stored whatever becomes of its task."""

    said: Said
    freight: Freight


class Left(Form):
    """What is left of a task.

    Attributes:
        ended: How it ended; its serial number is its place in the chunk, from 0.
        freight: What belongs to its output.
        spoken: Its messages.
        lines: What it logged, each with whether somebody has heard it there.
        number: What it said its number is, and whether that is another one than it was given.
        slow_down_s: For how many seconds more others are to wait, as it said; 0 for not at all.
    """

    ended: Ended
    freight: Freight
    spoken: list[Spoken]
    lines: list[tuple[Line, bool]]
    number: tuple[int, bool] | None
    slow_down_s: float


class Done(Form, tag=0):
    """A chunk has been performed, at least its first tasks.

    Attributes:
        number: Its own.
        worker: Where.
        took_s: How long that took, in seconds.
        tasks: What is left of them, in their order.
    """

    number: int
    worker: str
    took_s: float
    tasks: list[Left]


read_order: Final = msgspec.msgpack.Decoder(Order).decode
read_done: Final = msgspec.msgpack.Decoder(Done | Failure).decode
"""These two raise ``msgspec.DecodeError`` for what has another form."""


def freight_of(luggage: Luggage) -> Freight:
    """Return what is attached to an output as it is sent; the worker's side."""
    pieces = [piece for descriptor in luggage.descriptors for piece in _content(descriptor)]
    return Freight([memoryview(image) for image in luggage.attached], [memoryview(piece) for piece in pieces])


def _content(descriptor: int) -> Iterator[bytes]:
    size, at = os.fstat(descriptor).st_size, 0
    while at < size:
        piece = os.pread(descriptor, min(_PIECE, size - at), at)
        if not piece:
            raise OSError("a temporary file of a task's was cut off")
        at += len(piece)
        yield piece


@contextmanager
def unloaded(freight: Freight, directory: str | None) -> Iterator[Luggage]:
    """Have in here what came with an output; the run's side. Blocks on the disk.

    Args:
        freight: As it was sent.
        directory: Where a file is made of what came from one; ``None`` is the system's place for temporary files.
    """
    with ExitStack() as stack:
        descriptors = []
        if freight.file:
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0, dir=directory))
            for piece in freight.file:
                rest = piece
                while rest:
                    rest = rest[file.write(rest) :]
            descriptors.append(file.fileno())
        yield Luggage(freight.images, descriptors)
