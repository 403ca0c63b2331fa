"""Messages that tasks put: as they are sent, and made again in the run."""

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
    """Return what a class of messages is called, in the run as in its workers."""
    return f"{module_of(kind)}:{kind.__qualname__}"


_OURS: Final = {name_of(kind): kind for kind in (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished)}
"""Messages about other tasks: their fields are sent as they are, since workers say what they like in them."""
_EXECUTE: Final = name_of(MsgExecute)


def said(serial: int, message: object, kinds: frozenset[str]) -> tuple[Said, Luggage]:
    """Return a message as it is sent, and what is attached; the worker's side.

    Args:
        serial: Of the task that says it.
        message: Anything.
        kinds: Those that somebody handles, as ``module:qualname``.

    Raises:
        RowRefusedError: Somebody handles it, and it cannot be sent.
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
                msgspec.msgpack.decode(body, type=kind)  # as it will be there
        except Exception as error:  # a foreign class may do anything
            raise RowRefusedError(
                f"a message of type {clean(kind.__name__, 80)} cannot leave its worker process "
                f"({clean(error, 200)}): make it a dataclass or a named tuple of plain values"
            ) from error
    return Said(serial, storable(name), body, output, storable(describe(message, 2000))), luggage


def message_of(word: Said, luggage: Attached, kinds: Mapping[str, type]) -> object:
    """Return a message as it was.

    Args:
        word: It, as it was sent.
        luggage: What it came with.
        kinds: Those that somebody handles, as ``module:qualname``.

    Raises:
        ValueError: It cannot be made again.
    """
    try:
        return _made_again(word, luggage, kinds)
    except Exception as error:
        raise ValueError(f"a message that cannot be made again: {describe(error)}") from error


def _made_again(word: Said, luggage: Attached, kinds: Mapping[str, type]) -> object:
    if word.output is not None:
        parts = output_of(word.output, luggage)
        if word.kind == _EXECUTE:
            return MsgExecute(*parts[0])  # type: ignore[misc]  # a statement: see `child_link`
        return Blocks(parts)  # type: ignore[arg-type]  # of rows alone: what else it is was said above
    if word.body is not None and word.kind in _OURS:
        fields: Any = msgspec.msgpack.decode(word.body)
        return _OURS[word.kind](*fields)
    if word.body is not None and word.kind in kinds:
        return msgspec.msgpack.decode(word.body, type=kinds[word.kind])
    return Stranger(word.kind.rpartition(":")[2], word.text)
