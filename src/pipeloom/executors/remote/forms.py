"""The messages of workers about their tasks: MessagePack of fixed forms, so that nothing is executed.

A message that does not have one of these forms is rejected, and its worker counts as broken.
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
    """A message, sent as an array; with a tag, its first element identifies its type."""


class Parcel(Form):
    """An output; its images and its file are attached to the message that contains it.

    Attributes:
        parts: See :mod:`pipeloom.data.packed`.
        spool: The description of a spool file; ``None`` if there is none.
        rows: The number of rows.
        size: About how many bytes of memory it takes.
    """

    parts: bytes
    spool: Any
    rows: int
    size: int


# --- an outcome ---


class Raised(Form):
    """An exception as data: its class, its arguments (``None`` if they are not plain values), and its text."""

    module: str
    name: str
    arguments: tuple[str | int | float | bool | None, ...] | None
    text: str
    trace: str
    decision: RetryDecision


class Ended(Form):
    """The outcome of a task.

    Attributes:
        serial: The serial number under which it was sent.
        said: How many words the worker sent before, which must be processed first.
        started_at, name, progress: What it reported about itself; ``None`` where the run's values hold.
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


# --- other messages; tagged, since worker processes send them among other words ---


class Said(Form, tag=7):
    """A message of a task that is stored at once.

    Attributes:
        kind: Its class, as ``module:qualname``.
        body: The message as MessagePack; ``None`` if that is not possible or not needed.
        output: Instead of a body, rows or a statement.
        text: The message as text.
    """

    serial: int
    kind: str
    body: bytes | None
    output: Parcel | None
    text: str


class Failure(Form, tag=1):
    """The worker cannot start, and ends."""

    kind: str
    why: str
    trace: str


encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
read_ended: Final[Callable[[Buffer], Ended]] = msgspec.msgpack.Decoder(Ended).decode
"""Raises ``msgspec.DecodeError`` for any other form."""
