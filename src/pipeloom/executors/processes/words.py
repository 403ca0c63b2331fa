"""What a worker process says, word by word: MessagePack of the forms below, and of those in ``remote/forms``.

::

    worker ── hello · end of a chunk · outcome · log line · number · question · message · warning ─▶ run
    worker ◀── boot · chunk · answer · leave ── run                                              see ``parcels``

What has another form than is expected is not read at all: its worker counts as broken.
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
    """It has what it needs, and waits for tasks."""


class ChunkEnded(Form, tag=2):
    """It does nothing more with a chunk, of which it has performed so many tasks in so many seconds."""

    number: int
    tasks: int
    took_s: float


class Delivered(Form, tag=3):
    """An outcome to which something is attached, or for which there was no room in the shared memory."""

    outcome: bytes


class Logged(Form, tag=4):
    """A task logged something; another handler of its process has got that, too."""

    serial: int
    line: Line
    was_heard: bool


class Numbered(Form, tag=5):
    """A task says what its number is."""

    serial: int
    number: int
    is_another: bool


class QueryAsked(Form, tag=0):
    """Rows of what is committed."""

    sql: str
    params: tuple[Any, ...] | dict[str, Any]


class StateAsked(Form, tag=1):
    """What the task's last checkpoint said."""

    task_id: int


class CheckpointAsked(Form, tag=2):
    """To be on file."""

    state: str
    output: Parcel


class Asked(Form, tag=6):
    """A task asks something; the answer is sent under the same number."""

    number: int
    serial: int
    question: QueryAsked | StateAsked | CheckpointAsked


class Abandoned(Form, tag=9):
    """Nobody waits for the answer to a question any more."""

    number: int


class Warned(Form, tag=8):
    """Something that people should read."""

    text: str


class SlowedDown(Form, tag=10):
    """A task says that for so many seconds none is to begin that shares a limit's value with it."""

    serial: int
    seconds: float


Word: TypeAlias = (
    Hello | Failure | ChunkEnded | Delivered | Logged | Numbered | Asked | Abandoned | Said | SlowedDown | Warned
)

read_word: Final[Callable[[Buffer], Word]] = msgspec.msgpack.Decoder(Word).decode
"""Raises ``msgspec.DecodeError`` for what has another form."""
