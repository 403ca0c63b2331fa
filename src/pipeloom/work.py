"""What a worker does: take an attempt, call the function, hand the outcome to the writer."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from pipeloom.attempt import Attempt
from pipeloom.clock import utc_now
from pipeloom.context import Port, TaskContext, enter
from pipeloom.errors import ChannelClosedError, TaskCancelledError, WriterBrokenError
from pipeloom.feed import Feed
from pipeloom.text import clean, describe, shorten, storable
from pipeloom.values import as_json

__all__ = ["Work", "calling"]

_TRACEBACK_LIMIT: Final = 20_000
_WORKER_STATUSES: Final = ("done", "error", "cancelled")

Call = Callable[[Any, TaskContext], Any]


def calling(fn: Callable[..., Any]) -> Call:
    """Return how to call a task function: with ``ctx`` by keyword only when it asks for it.

    It asks by a parameter that is named ``ctx`` or annotated ``TaskContext``.
    """
    try:
        parameters = inspect.signature(fn).parameters
    except (TypeError, ValueError):  # some builtins have none
        parameters = {}  # type: ignore[assignment]
    for place, (name, parameter) in enumerate(parameters.items()):
        annotation = parameter.annotation
        wanted = annotation is TaskContext or (
            isinstance(annotation, str) and annotation.rpartition(".")[2] == TaskContext.__name__
        )
        if place > 0 and (name == "ctx" or wanted):
            if parameter.kind is parameter.POSITIONAL_ONLY:
                return fn
            return lambda item, context: fn(item, **{name: context})
    return lambda item, _: fn(item)


class Work:
    """The loop of every worker of a run.

    Args:
        call: Calls the function with an input and its context.
        feed: Where attempts come from.
        port: Where outcomes go.
        slots: One place per worker for its present attempt, for the writer and the screen to read.
        keeps_results: What the function returns is the task's result, as JSON.
        ended: Called with the worker's place when its loop ends.
    """

    def __init__(
        self,
        call: Call,
        feed: Feed,
        port: Port,
        slots: list[Attempt | None],
        *,
        keeps_results: bool,
        ended: Callable[[int], None],
    ) -> None:
        self._call = call
        self._feed = feed
        self._port = port
        self._slots = slots
        self._keeps_results = keeps_results
        self._ended = ended

    def loop(self, place: int) -> None:
        """Work until there is nothing more to do, or nobody to say it to."""
        worker = f"thread-{place + 1}"
        put = self._port.channel.put
        try:
            while (attempt := self._feed.next()) is not None:
                if attempt.status == "queued":
                    attempt.worker = worker
                    self._slots[place] = attempt
                    self._perform(attempt)
                put(attempt, weight=attempt.weight)
                self._slots[place] = None
        except (WriterBrokenError, ChannelClosedError):
            pass  # the engine knows, and says why
        except BaseException as error:  # our own fault: the run must not go on as if nothing were
            self._feed.error = error
            self._feed.close()
        finally:
            self._slots[place] = None
            enter(None)
            self._ended(place)

    def _perform(self, attempt: Attempt) -> None:
        context = TaskContext(attempt, self._port)
        enter(context)
        attempt.started_at = utc_now()
        attempt.t0 = began = monotonic()
        attempt.status = "running"
        try:
            value = self._call(attempt.item, context)
            status, message = "done", attempt.cell[2] or None
            if attempt.said_finish is not None:
                status, message = self._believe(attempt)
            elif self._keeps_results and value is not None:
                attempt.result = _result(value)
        except TaskCancelledError as error:
            status, message = "cancelled", str(error)
        except BaseException as error:  # SystemExit too: it is the task's, not the program's
            status, message = "error", _failed(attempt, error)
        if status != "done":
            attempt.staged = None
            attempt.rows_written = 0
        attempt.message = message if message is None else storable(message)
        attempt.elapsed_s = monotonic() - began
        if attempt.finished_at is None:
            attempt.finished_at = utc_now()
        attempt.status = status

    def _believe(self, attempt: Attempt) -> tuple[str, str]:
        """Take the worker's own word on how it ended."""
        said = attempt.said_finish
        assert said is not None
        if said.status not in _WORKER_STATUSES:
            raise ValueError(f'a task finishes as "done", "error" or "cancelled", not {clean(said.status, 40)!r}')
        if said.result is None or type(said.result) is str:
            attempt.result = said.result if said.result is None else storable(said.result)
        else:
            attempt.result = _result(said.result)
        attempt.finished_at = storable(str(said.finished_at))
        return said.status, said.message if type(said.message) is str else describe(said.message)


def _result(value: Any) -> str:
    try:
        return as_json(value)
    except ValueError as error:
        raise ValueError(
            f"the result cannot be stored as JSON ({error}): return plain values, or write rows with ctx.write"
        ) from error


def _failed(attempt: Attempt, error: BaseException) -> str:
    """Note an exception on its attempt; returns the message."""
    attempt.result = None
    attempt.exception = error
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
            frame = frame.tb_next  # ours: people look for theirs
        text = "".join(traceback.format_exception(type(error), error, frame))
    except Exception as broken:  # a foreign __str__ or __cause__ may do anything
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"
    if len(text) > _TRACEBACK_LIMIT:
        text = "…" + text[-_TRACEBACK_LIMIT:]
    attempt.error = storable(text)
    return shorten(describe(error, 2000) or type(error).__name__, 2000)
