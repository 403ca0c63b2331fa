"""Forwards the questions of tasks in worker processes to the run."""

from __future__ import annotations

from collections.abc import Callable

from pipeloom.data.packed import checked_params
from pipeloom.data.text import describe
from pipeloom.errors import AttemptOverError, WriterBrokenError
from pipeloom.executors.processes.parcels import Answer, read, to_be_told
from pipeloom.executors.processes.pipe import Message
from pipeloom.executors.processes.words import Asked, CheckpointAsked, QueryAsked
from pipeloom.executors.remote.outcomes import output_of
from pipeloom.wire import Checkpoint, Query, Question, StateOf
from pipeloom.worker.link import Link
from pipeloom.worker.task import Task

__all__ = ["AbandonedError", "answer_to"]


class AbandonedError(Exception):
    """The answer is no longer needed."""


def answer_to(word: Asked, luggage: Message, task: Task | None, link: Link, look: Callable[[], None]) -> bytes:
    """Forward a question; blocks until it is answered. Return the answer in the form in which it is sent.

    Args:
        word: The question.
        luggage: Its attachments.
        task: The task that asks; ``None`` if it has ended.
        link: The link of the run.
        look: Called four times a second; raises to stop waiting.

    Raises:
        WriterBrokenError: The writer died.
        AbandonedError, EOFError: Raised by ``look``.
    """
    try:
        if task is None:
            raise AttemptOverError("the task has ended, so nothing more can be stored for it")
        value = link.ask(task, _question(word, luggage), look).result(look)
    except (AbandonedError, EOFError, WriterBrokenError):
        raise
    except Exception as error:  # noqa: BLE001 - any exception is the answer
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
        read(data)  # a handler may have raised it, with a class that cannot be unpickled
    except Exception:  # noqa: BLE001 - a foreign class may raise anything
        return to_be_told(Answer(number, True, RuntimeError(f"{type(error).__name__}: {describe(error)}")))
    return data
