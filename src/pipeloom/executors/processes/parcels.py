"""What a run sends to its worker processes: tasks as MessagePack, all else pickled, since it is its own word."""

from __future__ import annotations

import pickle
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from pipeloom.data.image import Buffer
from pipeloom.executors.processes.program import Packed, Program
from pipeloom.executors.processes.words import encode
from pipeloom.wire import Brief
from pipeloom.worker.task import Task

__all__ = ["LEAVE", "Answer", "Boot", "Call", "Chunk", "Leave", "call_of", "read", "to_be_told"]


class Boot(NamedTuple):
    """What a worker process is told first.

    Attributes:
        program: Where its modules are.
        brief: What is the same for all tasks, without function and policy.
        packed: The function, the retry policy and ``local``, see ``program.packed``.
        keeps_logs: What tasks log is stored.
        level: The root logger's.
        kinds: The messages that somebody handles, as ``module:qualname``.
    """

    program: Program
    brief: Brief
    packed: Packed
    keeps_logs: bool
    level: int
    kinds: frozenset[str]


class Answer(NamedTuple):
    """The answer to a question."""

    number: int
    is_error: bool
    value: Any


Call: TypeAlias = tuple[
    Any,  # the input: a plain value, or bytes, which are a pickle of it
    int,  # task_id
    str | int | None,  # key
    str,  # name
    int,  # attempt
    bool,  # seen_before
    str | None,  # state
]
"""A task as it is sent. Inputs are pickled one by one, so that one that cannot be read fails alone."""


class Chunk(msgspec.Struct, array_like=True, gc=False, tag=0):
    """n tasks that are sent together; their serial numbers follow each other."""

    number: int
    first: int
    calls: list[Call]


class Told(msgspec.Struct, array_like=True, gc=False, tag=1):
    """A boot, or an answer; pickled."""

    what: bytes


class Leave(msgspec.Struct, array_like=True, gc=False, tag=2):
    """There is nothing more to do."""


_INT64: Final = 1 << 63
_decoder: Final = msgspec.msgpack.Decoder(Chunk | Told | Leave)

LEAVE: Final = encode(Leave())


def call_of(task: Task) -> Call:
    """Return a task as it is sent; raises whatever pickling its input raises."""
    item = task.item
    kind = type(item)
    is_plain = (kind is int and -_INT64 <= item < _INT64) or (kind is str and item.isascii())  # type: ignore[operator, attr-defined]
    if not is_plain:
        item = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    return item, task.task_id, task.key, task.name, task.attempt, task.seen_before, task.state


def to_be_told(what: Boot | Answer) -> bytes:
    """Return a boot or an answer as it is sent."""
    return encode(Told(pickle.dumps(what, pickle.HIGHEST_PROTOCOL)))


def read(message: Buffer) -> Chunk | Boot | Answer | Leave:
    """Return what was sent; the worker's side."""
    found: Chunk | Told | Leave = _decoder.decode(message)
    if isinstance(found, Told):
        told: Boot | Answer = pickle.loads(found.what)
        return told
    return found
