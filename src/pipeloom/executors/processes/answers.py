"""What a task in a worker process asks, or says, put to the run in its stead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pipeloom.data.packed import checked_params
from pipeloom.data.rows import Blocks
from pipeloom.data.text import describe
from pipeloom.errors import AttemptOverError, WriterBrokenError
from pipeloom.executors.processes.outcomes import output_of
from pipeloom.executors.processes.parcels import Answer, read, to_be_told
from pipeloom.executors.processes.pipe import Message
from pipeloom.executors.processes.program import module_of
from pipeloom.executors.processes.words import Asked, CheckpointAsked, QueryAsked, Said
from pipeloom.messages import MsgExecute, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted
from pipeloom.wire import Checkpoint, Query, Question, StateOf, Stranger
from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

__all__ = ["OURS", "AbandonedError", "answer_to", "message_of", "name_of"]


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


def answer_to(word: Asked, luggage: Message, task: Task | None, link: Link, look: Callable[[], None]) -> bytes:
    """Put a question; blocks until it is answered. Returns the answer as it is sent.

    Args:
        word: The question.
        luggage: What it came with.
        task: Whose it is; ``None`` if that has ended.
        link: The run's.
        look: Called four times a second; raises to give up.

    Raises:
        WriterBrokenError: Nobody is there to answer.
        AbandonedError, EOFError: Raised by ``look``.
    """
    try:
        if task is None:
            raise AttemptOverError("the task has ended: what it says now is not stored")
        value = link.ask(task, _question(word, luggage), look).result(look)
    except (AbandonedError, EOFError, WriterBrokenError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return _failure(word.number, error)
    return to_be_told(Answer(word.number, False, value))


def _question(word: Asked, luggage: Message) -> Question:
    question = word.question
    if isinstance(question, QueryAsked):
        return Query(question.sql, checked_params(question.params))
    if isinstance(question, CheckpointAsked):
        parcel = question.output
        return Checkpoint(question.state, output_of(parcel, luggage), parcel.rows, parcel.size)
    return StateOf(question.task_id)


def _failure(number: int, error: Exception) -> bytes:
    error = error.with_traceback(None)
    try:
        data = to_be_told(Answer(number, True, error))
        read(data)  # it may be a handler's, of a class that cannot be made again
    except Exception:  # noqa: BLE001 - a foreign class may do anything
        return to_be_told(Answer(number, True, RuntimeError(f"{type(error).__name__}: {describe(error)}")))
    return data


def message_of(word: Said, luggage: Message, kinds: Mapping[str, type]) -> object:
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


def _made_again(word: Said, luggage: Message, kinds: Mapping[str, type]) -> object:
    if word.output is not None:
        parts = output_of(word.output, luggage)
        if word.kind == _EXECUTE:
            return MsgExecute(*parts[0])  # type: ignore[misc]  # a statement: see `child_link`
        return Blocks(parts)  # type: ignore[arg-type]
    if word.body is not None and word.kind in OURS:
        fields: Any = msgspec.msgpack.decode(word.body)
        return OURS[word.kind](*fields)
    if word.body is not None and word.kind in kinds:
        return msgspec.msgpack.decode(word.body, type=kinds[word.kind])
    return Stranger(word.kind.rpartition(":")[2], word.text)


def name_of(kind: type) -> str:
    """Return what a class of messages is called, in the run as in its workers."""
    return f"{module_of(kind)}:{kind.__qualname__}"


OURS: Final = {name_of(kind): kind for kind in (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished)}
"""Messages about other tasks: their fields are sent as they are, since workers say what they like in them."""
_EXECUTE: Final = name_of(MsgExecute)
