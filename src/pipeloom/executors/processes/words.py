"""The messages ("words") of a worker process: MessagePack of the forms below and of those in ``remote/forms``.

::

    worker ── hello · end of a chunk · outcome · log line · number · question · message · warning ─▶ run
    worker ◀── boot · chunk · answer · leave ── run                                              see ``parcels``

A message that does not have one of these forms is rejected, and its worker counts as broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from pipeloom.data.image import Buffer
from pipeloom.executors.remote.forms import Failure, Form, Line, Parcel, Said

__all__ = [
    "Abandoned",
    "Asked",
    "CheckpointAsked",
    "ChunkEnded",
    "Delivered",
    "Hello",
    "Logged",
    "Numbered",
    "QueryAsked",
    "SlowedDown",
    "StateAsked",
    "Warned",
    "Word",
    "read_word",
]


class Hello(Form, tag=0):
    """The worker is ready for tasks."""


class ChunkEnded(Form, tag=2):
    """A chunk has ended: this many of its tasks were performed, in this many seconds."""

    number: int
    tasks: int
    took_s: float


class Delivered(Form, tag=3):
    """An outcome with attachments, or one that did not fit in the shared memory."""

    outcome: bytes


class Logged(Form, tag=4):
    """A task logged something; ``was_heard`` if another handler in its process has received it, too."""

    serial: int
    line: Line
    was_heard: bool


class Numbered(Form, tag=5):
    """A task used an id of its own in a message; ``is_another`` if it differs from the one that it was given."""

    serial: int
    number: int
    is_another: bool


class QueryAsked(Form, tag=0):
    """A query of the committed data."""

    sql: str
    params: tuple[Any, ...] | dict[str, Any]


class StateAsked(Form, tag=1):
    """A request for the state of the task's last checkpoint."""

    task_id: int


class CheckpointAsked(Form, tag=2):
    """A checkpoint to be committed."""

    state: str
    output: Parcel


class Asked(Form, tag=6):
    """A task asks a question; the answer has the same number."""

    number: int
    serial: int
    question: QueryAsked | StateAsked | CheckpointAsked


class Abandoned(Form, tag=9):
    """The answer to a question is no longer needed."""

    number: int


class Warned(Form, tag=8):
    """A warning to be logged."""

    text: str


class SlowedDown(Form, tag=10):
    """A task requests that no task that shares a limit's value with it starts for this many seconds."""

    serial: int
    seconds: float


Word: TypeAlias = (
    Hello | Failure | ChunkEnded | Delivered | Logged | Numbered | Asked | Abandoned | Said | SlowedDown | Warned
)

read_word: Final[Callable[[Buffer], Word]] = msgspec.msgpack.Decoder(Word).decode
"""Raises ``msgspec.DecodeError`` for any other form."""
