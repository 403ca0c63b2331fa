"""Chunks of tasks as bytes, for executors that take a function and bytes, and return bytes.

::

    run ── Assignment (once a run), Order (a chunk) ──▶ run_chunk
    run ◀── Done: the result of each task; or Failure ── run_chunk

What comes back is MessagePack of the forms below, so that nothing in it is executed. It contains what a task wrote
as bytes: images, and the contents of a spool file.
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
_PIECE: Final = 2**28  # bytes; MessagePack is limited to 4 GiB in one piece


class Assignment(NamedTuple):
    """What is the same for all chunks of a run.

    Attributes:
        home: The process of the run, see ``run_chunk.this_process``.
        brief: What is the same for all tasks, without function and policy.
        packed: The function, the retry policy and ``local``, see ``program.packed``.
        keeps_logs: Whether the log records of tasks are stored.
        level: The level of the root logger.
        kinds: The message classes that have handlers, as ``module:qualname``.
    """

    home: str
    brief: Brief
    packed: Packed
    keeps_logs: bool
    level: int
    kinds: frozenset[str]


def assigned(token: bytes, version: str, assignment: Assignment) -> bytes:
    """Return an assignment in the form in which it is sent: pickled, since workers trust the run.

    Args:
        token: The token of the run, by which a worker recognises that it has read the rest.
        version: The version of pipeloom, which must be the same on both sides.
        assignment: The assignment.
    """
    # Pickled twice, so that a worker with another version can report that without reading the assignment.
    return token + pickle.dumps((version, pickle.dumps(assignment, pickle.HIGHEST_PROTOCOL)))


def assignment_of(data: bytes, version: str) -> Assignment:
    """Return an assignment as it was before it was sent; the worker's side.

    Raises:
        RuntimeError: The run has another version of pipeloom.
    """
    theirs, assignment = pickle.loads(memoryview(data)[TOKEN_BYTES:])
    if theirs != version:
        raise RuntimeError(f"the run has pipeloom {theirs}, but its worker has {version}: install the same version")
    found: Assignment = pickle.loads(assignment)
    return found


class Order(Form):
    """A chunk.

    Attributes:
        number: Its number, which is unique in the run.
        patience_s: After this many seconds no further task of the chunk starts; the rest goes back.
        calls: n tasks.
    """

    number: int
    patience_s: float
    calls: list[Call]


# --- what comes back ---


class Freight(Form):
    """The attachments of an output.

    Attributes:
        images: Images, see :mod:`pipeloom.data.image`.
        file: The contents of a spool file, in pieces; empty if there is none.
    """

    images: list[memoryview]
    file: list[memoryview]


class Spoken(Form):
    """A message that is stored even if its task fails."""

    said: Said
    freight: Freight


class Left(Form):
    """The result of a task.

    Attributes:
        ended: Its outcome; the serial number is its place in the chunk, from 0.
        freight: The attachments of its output.
        spoken: Its messages.
        lines: Its log lines, each with whether a handler in its process received it.
        number: The id that it used in a message, and whether that differs from the one that it was given.
        slow_down_s: For how many more seconds it asked other tasks to wait; 0 for not at all.
    """

    ended: Ended
    freight: Freight
    spoken: list[Spoken]
    lines: list[tuple[Line, bool]]
    number: tuple[int, bool] | None
    slow_down_s: float


class Done(Form, tag=0):
    """A chunk has been performed, or at least its first tasks.

    Attributes:
        number: Its number.
        worker: The display name of the worker.
        took_s: How long it took, in seconds.
        tasks: The results of the tasks, in order.
    """

    number: int
    worker: str
    took_s: float
    tasks: list[Left]


read_order: Final = msgspec.msgpack.Decoder(Order).decode
read_done: Final = msgspec.msgpack.Decoder(Done | Failure).decode
"""These two raise ``msgspec.DecodeError`` for any other form."""


def freight_of(luggage: Luggage) -> Freight:
    """Return the attachments of an output in the form in which they are sent; the worker's side."""
    pieces = [piece for descriptor in luggage.descriptors for piece in _content(descriptor)]
    return Freight([memoryview(image) for image in luggage.attached], [memoryview(piece) for piece in pieces])


def _content(descriptor: int) -> Iterator[bytes]:
    size, at = os.fstat(descriptor).st_size, 0
    while at < size:
        piece = os.pread(descriptor, min(_PIECE, size - at), at)
        if not piece:
            raise OSError("a temporary file of a task was truncated")
        at += len(piece)
        yield piece


@contextmanager
def unloaded(freight: Freight, directory: str | None) -> Iterator[Luggage]:
    """Yield the attachments of an output; the run's side. Blocks on the disk.

    Args:
        freight: The attachments, as they were sent.
        directory: Where to recreate a spool file; ``None`` for the system's directory for temporary files.
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
