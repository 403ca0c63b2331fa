"""What workers say of their tasks, and what they are sent: MessagePack of fixed forms, so that nothing is executed.

What has another form than is expected is not read at all: its worker counts as broken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from pipeloom.data.image import Buffer
from pipeloom.statuses import TaskStatus
from pipeloom.wire import RetryDecision

__all__ = ["Ended", "Failure", "Form", "Line", "Parcel", "Raised", "Said", "encode", "read_ended"]

Line: TypeAlias = tuple[str, str, str, str, str | None]
"""A log line: at, level, logger, message, error."""


class Form(msgspec.Struct, array_like=True, gc=False):
    """What is sent as an array; with a tag, its first element says what it is."""


class Parcel(Form):
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


class Raised(Form):
    """An exception as data: its class, what it was made with (``None`` if that is not plain), and how it reads."""

    module: str
    name: str
    arguments: tuple[str | int | float | bool | None, ...] | None
    text: str
    trace: str
    decision: RetryDecision


class Ended(Form):
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


# --- what workers say; tagged, since one of the processes says it among other words ---


class Said(Form, tag=7):
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


class Failure(Form, tag=1):
    """It cannot begin, and leaves."""

    kind: str
    why: str
    trace: str


encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
read_ended: Final[Callable[[Buffer], Ended]] = msgspec.msgpack.Decoder(Ended).decode
"""Raises ``msgspec.DecodeError`` for what has another form."""
