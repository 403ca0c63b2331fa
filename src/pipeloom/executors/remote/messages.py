"""Messages that tasks put: how they are sent, and rebuilt in the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from pipeloom.data.rows import Blocks, Statement
from pipeloom.data.text import clean, describe, storable
from pipeloom.data.values import adapt_params
from pipeloom.errors import RowRefusedError
from pipeloom.executors.remote.forms import Parcel, Said, encode
from pipeloom.executors.remote.outcomes import NONE, Attached, Luggage, output_of, parcel_of
from pipeloom.executors.remote.program import module_of
from pipeloom.messages import MsgExecute, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted
from pipeloom.wire import Stranger

__all__ = ["message_of", "name_of", "said"]


def name_of(kind: type) -> str:
    """Return the name of a message class, which is the same in the run and in its workers."""
    return f"{module_of(kind)}:{kind.__qualname__}"


_OURS: Final = {name_of(kind): kind for kind in (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished)}
"""Messages about other tasks: their fields are sent unchanged, since workers may put anything in them."""
_EXECUTE: Final = name_of(MsgExecute)


def said(serial: int, message: object, kinds: frozenset[str]) -> tuple[Said, Luggage]:
    """Return a message in the form in which it is sent, and its attachments; the worker's side.

    Args:
        serial: The serial number of the task that sends it.
        message: Any object.
        kinds: The message classes that have handlers, as ``module:qualname``.

    Raises:
        RowRefusedError: It has a handler, but cannot be sent.
    """
    kind = type(message)
    name = name_of(kind)
    body: bytes | None = None
    output: Parcel | None = None
    luggage = NONE
    if isinstance(message, Blocks):
        output, luggage = parcel_of(list(message), 0, 0)
    elif isinstance(message, MsgExecute) and name not in kinds:
        name = name_of(MsgExecute)
        statement = Statement(message.sql, adapt_params(message.params))
        output, luggage = parcel_of([statement], 0, 0)
    elif name in _OURS or name in kinds:
        try:
            body = encode(list(vars(message).values()) if name in _OURS else message)
            if name in kinds:
                msgspec.msgpack.decode(body, type=kind)  # as the run will do
        except Exception as error:  # a foreign class may raise anything
            raise RowRefusedError(
                f"a message of type {clean(kind.__name__, 80)} cannot be sent from its worker process "
                f"({clean(error, 200)}): make it a dataclass or a named tuple of plain values"
            ) from error
    return Said(serial, storable(name), body, output, storable(describe(message, 2000))), luggage


def message_of(word: Said, luggage: Attached, kinds: Mapping[str, type]) -> object:
    """Return a message as it was before it was sent.

    Args:
        word: The message, as it was sent.
        luggage: Its attachments.
        kinds: The message classes that have handlers, as ``module:qualname``.

    Raises:
        ValueError: It cannot be rebuilt.
    """
    try:
        return _made_again(word, luggage, kinds)
    except Exception as error:
        raise ValueError(f"a message that cannot be rebuilt: {describe(error)}") from error


def _made_again(word: Said, luggage: Attached, kinds: Mapping[str, type]) -> object:
    if word.output is not None:
        parts = output_of(word.output, luggage)
        if word.kind == _EXECUTE:
            return MsgExecute(*parts[0])  # type: ignore[misc]  # a statement: see `child_link`
        return Blocks(parts)  # type: ignore[arg-type]  # only rows: everything else is handled above
    if word.body is not None and word.kind in _OURS:
        fields: Any = msgspec.msgpack.decode(word.body)
        return _OURS[word.kind](*fields)
    if word.body is not None and word.kind in kinds:
        return msgspec.msgpack.decode(word.body, type=kinds[word.kind])
    return Stranger(word.kind.rpartition(":")[2], word.text)
