"""What a run sends to its worker processes: tasks as MessagePack; the rest pickled, as workers trust the run."""

from __future__ import annotations

import pickle
from typing import Any, Final, NamedTuple

import msgspec

from pipeloom.data.image import Buffer
from pipeloom.executors.remote.calls import Call
from pipeloom.executors.remote.forms import encode
from pipeloom.executors.remote.program import Packed, Program
from pipeloom.wire import Brief

__all__ = ["LEAVE", "Answer", "Boot", "Chunk", "Leave", "read", "to_be_told"]


class Boot(NamedTuple):
    """The first message to a worker process.

    Attributes:
        program: How to find the program's modules.
        brief: What is the same for all tasks, without function and policy.
        packed: The function, the retry policy and ``local``, see ``program.packed``.
        keeps_logs: Whether the log records of tasks are stored.
        level: The level of the root logger.
        kinds: The message classes that have handlers, as ``module:qualname``.
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


class Chunk(msgspec.Struct, array_like=True, gc=False, tag=0):
    """n tasks that are sent together, with consecutive serial numbers."""

    number: int
    first: int
    calls: list[Call]


class Told(msgspec.Struct, array_like=True, gc=False, tag=1):
    """A boot, or an answer; pickled."""

    what: bytes


class Leave(msgspec.Struct, array_like=True, gc=False, tag=2):
    """Tells the worker to end, since there is nothing more to do."""


_decoder: Final = msgspec.msgpack.Decoder(Chunk | Told | Leave)

LEAVE: Final = encode(Leave())


def to_be_told(what: Boot | Answer) -> bytes:
    """Return a boot or an answer in the form in which it is sent."""
    return encode(Told(pickle.dumps(what, pickle.HIGHEST_PROTOCOL)))


def read(message: Buffer) -> Chunk | Boot | Answer | Leave:
    """Return what was sent; the worker's side."""
    found: Chunk | Told | Leave = _decoder.decode(message)
    if isinstance(found, Told):
        told: Boot | Answer = pickle.loads(found.what)
        return told
    return found
