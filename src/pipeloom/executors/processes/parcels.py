"""What a run sends to its worker processes; pickled, since it is the run's own word."""

from __future__ import annotations

import pickle
from typing import Any, Final, Literal, NamedTuple

from pipeloom.executors.processes.program import Program
from pipeloom.wire import Brief

__all__ = ["LEAVE", "Boot", "Call", "Chunk", "sent"]


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
    packed: bytes
    keeps_logs: bool
    level: int
    kinds: frozenset[str]


class Call(NamedTuple):
    """A task as it is sent: its input is pickled by itself, so that one that cannot be read fails alone."""

    item: bytes
    task_id: int
    key: str | int | None
    name: str
    attempt: int
    seen_before: bool
    state: str | None


class Chunk(NamedTuple):
    """n tasks that are sent together; their serial numbers follow each other."""

    number: int
    first: int
    calls: list[Call]


Kind = Literal["boot", "chunk", "answer", "leave"]


def sent(kind: Kind, what: Any) -> bytes:
    """Return a message as it is sent; an answer is its question's number, whether it is an error, and the value."""
    return pickle.dumps((kind, what), pickle.HIGHEST_PROTOCOL)


LEAVE: Final = sent("leave", None)
"""There is nothing more to do."""
