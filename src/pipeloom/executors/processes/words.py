"""What a worker process says, word by word: MessagePack of the forms below, so that nothing of it is ever executed.

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
from pipeloom.statuses import TaskStatus

__all__ = [
    "Abandoned",
    "Asked",
    "CheckpointAsked",
    "ChunkEnded",
    "Delivered",
    "Ended",
    "Failure",
    "Hello",
    "Line",
    "Logged",
    "Numbered",
    "Parcel",
    "QueryAsked",
    "Raised",
    "Said",
    "StateAsked",
    "Warned",
    "Word",
    "encode",
    "read_ended",
    "read_word",
]

Line: TypeAlias = tuple[str, str, str, str, str | None]
"""A log line: at, level, logger, message, error."""


class _Form(msgspec.Struct, array_like=True, gc=False):
    """What is sent as an array; with a tag, its first element says what it is."""


class Parcel(_Form):
    """An output; its images and its file are attached to the word that it is in.

    Attributes:
        parts: See :mod:`pipeloom.data.packed`.
        spool: What is told beside the file of a spool; ``None`` without one.
        rows: How many rows are in there.
        size: About how many bytes of memory it takes.
    """

    parts: bytes
    spool: Any
    rows: int
    size: int


# --- an outcome ---


class Raised(_Form):
    """An exception as data: its class, what it was made with (``None`` if that is not plain), and how it reads."""

    module: str
    name: str
    arguments: tuple[str | int | float | bool | None, ...] | None
    text: str
    trace: str
    is_worth_another_try: bool


class Ended(_Form):
    """How a task ended.

    Attributes:
        serial: Which one, by the number under which it was sent.
        said: How many words this worker had said before: those come first.
        started_at, name, progress: What it said of itself; ``None`` for what is as the run knows it.
    """

    serial: int
    said: int
    status: TaskStatus
    message: str | None
    result: str | None
    raised: Raised | None
    output: Parcel | None
    finished_at: str
    elapsed_s: float
    started_at: str | None
    name: str | None
    progress: tuple[float, float | None, str] | None


# --- words ---


class Hello(_Form, tag=0):
    """It has what it needs, and waits for tasks."""


class Failure(_Form, tag=1):
    """It cannot begin, and leaves."""

    kind: str
    why: str
    trace: str


class ChunkEnded(_Form, tag=2):
    """It does nothing more with a chunk, of which it has performed so many tasks in so many seconds."""

    number: int
    tasks: int
    took_s: float


class Delivered(_Form, tag=3):
    """An outcome to which something is attached, or for which there was no room in the shared memory."""

    outcome: bytes


class Logged(_Form, tag=4):
    """A task logged something; another handler of its process has got that, too."""

    serial: int
    line: Line
    was_heard: bool


class Numbered(_Form, tag=5):
    """A task says what its number is."""

    serial: int
    number: int
    is_another: bool


class QueryAsked(_Form, tag=0):
    """Rows of what is committed."""

    sql: str
    params: tuple[Any, ...] | dict[str, Any]


class StateAsked(_Form, tag=1):
    """What the task's last checkpoint said."""

    task_id: int


class CheckpointAsked(_Form, tag=2):
    """To be on file."""

    state: str
    output: Parcel


class Asked(_Form, tag=6):
    """A task asks something; the answer is sent under the same number."""

    number: int
    serial: int
    question: QueryAsked | StateAsked | CheckpointAsked


class Said(_Form, tag=7):
    """A task says something that is to be stored at once.

    Attributes:
        kind: The class of it, as ``module:qualname``.
        body: It as MessagePack; ``None`` if it cannot be written so.
        output: In its stead, rows or a statement.
        text: It in words.
    """

    serial: int
    kind: str
    body: bytes | None
    output: Parcel | None
    text: str


class Abandoned(_Form, tag=9):
    """Nobody waits for the answer to a question any more."""

    number: int


class Warned(_Form, tag=8):
    """Something that people should read."""

    text: str


Word: TypeAlias = Hello | Failure | ChunkEnded | Delivered | Logged | Numbered | Asked | Abandoned | Said | Warned

_decoder: Final = msgspec.msgpack.Decoder(Word)
_ended: Final = msgspec.msgpack.Decoder(Ended)

encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
read_word: Final[Callable[[Buffer], Word]] = _decoder.decode
read_ended: Final[Callable[[Buffer], Ended]] = _ended.decode
"""These two raise ``msgspec.DecodeError`` for what has another form."""
