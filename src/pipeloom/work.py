"""What a worker does: take an attempt, call the function, hand the outcome to the writer."""

from __future__ import annotations

import inspect
import os
import re
import traceback
from collections.abc import Callable
from os import getpid
from time import monotonic
from typing import Any, Final, NoReturn, get_args

from pipeloom.attempt import Attempt
from pipeloom.clock import utc_now
from pipeloom.context import Port, TaskContext, enter, enter_run
from pipeloom.errors import ChannelClosedError, TaskCancelledError, WriterBrokenError
from pipeloom.feed import Feed
from pipeloom.rows import Block
from pipeloom.text import clean, describe, shorten, storable
from pipeloom.values import as_json

__all__ = ["Work", "calling"]

_TRACEBACK_LIMIT: Final = 20_000
_WORKER_STATUSES: Final = ("done", "error", "cancelled")

Call = Callable[[Attempt, Port], Any]


def calling(fn: Callable[..., Any]) -> Call:
    """Return how to call a task function: with ``ctx`` by keyword only when it asks for it.

    It asks by a parameter that is named ``ctx`` or annotated ``TaskContext``.

    Raises:
        TypeError: It cannot be called with one input.
    """
    parameters = _parameters(fn)
    name = next((p.name for p in parameters if p.name == "ctx" or _means_context(p.annotation)), None)
    if name is None:
        _check_call(fn, None)
        return lambda attempt, _: fn(attempt.item)
    _check_call(fn, None, **{name: None})
    return lambda attempt, port: fn(attempt.item, **{name: TaskContext(attempt, port)})


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return []


def _means_context(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return re.search(rf"\b{TaskContext.__name__}\b", annotation) is not None
    return annotation is TaskContext or TaskContext in get_args(annotation)


def _check_call(fn: Callable[..., Any], *arguments: None, **named: None) -> None:
    """Try whether the arguments fit: better one sentence now than ten thousand failed tasks."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments, **named)
    except TypeError as error:
        what = getattr(fn, "__name__", type(fn).__name__)
        raise TypeError(
            f"{what}{signature} does not take one input, and ctx after it if it likes: {error}"
        ) from None


def calling_with_queue(worker_fn: Callable[[Any, Any], Any]) -> Call:
    """Return how to call a worker that takes its queue, which is its context, as second argument.

    Raises:
        TypeError: It cannot be called with two arguments.
    """
    _check_call(worker_fn, None, None)
    return lambda attempt, port: worker_fn(attempt.item, TaskContext(attempt, port))


class Work:
    """The loop of every worker of a run.

    Args:
        call: Calls the function for an attempt.
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
        self._pid = getpid()
        self.fault: BaseException | None = None

    def loop(self, place: int) -> None:
        """Work until there is nothing more to do, or nobody to say it to."""
        worker = f"thread-{place + 1}"
        put = self._port.channel.put
        enter_run(self._port)
        try:
            while (attempt := self._feed.next()) is not None:
                if attempt.status == "queued":
                    attempt.worker = worker
                    self._slots[place] = attempt
                    self._perform(attempt)
                    if getpid() != self._pid:
                        _end_of_fork(attempt)
                put(attempt, weight=attempt.weight)
                self._slots[place] = None
        except (WriterBrokenError, ChannelClosedError):
            pass  # the engine knows, and says why
        except BaseException as error:  # our own fault: the run must not go on as if nothing were
            self.fault = error
            self._feed.close()
        finally:
            self._slots[place] = None
            enter(None)
            self._ended(place)

    def _perform(self, attempt: Attempt) -> None:
        enter(attempt)
        attempt.started_at = utc_now()
        attempt.t0 = began = monotonic()
        attempt.status = "running"
        try:
            value = self._call(attempt, self._port)
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
        elif attempt.staged is not None:
            attempt.rows_written = sum(len(part.rows) for part in attempt.staged if type(part) is Block)
        attempt.message = message if message is None else storable(message)
        attempt.elapsed_s = monotonic() - began
        attempt.item = None  # it may be large, and the outcome may wait a moment for its commit
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


def _end_of_fork(attempt: Attempt) -> NoReturn:
    """Leave a child that the task forked and that came back here: the run is its parent's."""
    code = attempt.exception.code if isinstance(attempt.exception, SystemExit) else None
    os._exit(code if isinstance(code, int) else attempt.status != "done")


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
