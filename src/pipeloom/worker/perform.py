"""What a worker does: take an attempt, call the function, hand the outcome to the writer."""

from __future__ import annotations

import inspect
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from os import getpid
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NoReturn, get_args

from pipeloom.data.clock import utc_now
from pipeloom.data.rows import Block
from pipeloom.data.text import clean, describe, shorten, storable
from pipeloom.data.values import as_json
from pipeloom.errors import ChannelClosedError, TaskCancelledError, TaskTimeoutError, WriterBrokenError
from pipeloom.ledger.attempt import Attempt
from pipeloom.messages import MsgTaskFinished
from pipeloom.retry import Retry
from pipeloom.worker.context import TaskContext
from pipeloom.worker.current import Port, enter, enter_run
from pipeloom.worker.logs import note_gap

if TYPE_CHECKING:
    from pipeloom.engine.dispatcher import Feed

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
        retry: When a failed try is followed by another.
        timeout_s: How long a try may take, in seconds.
        ended: Called with the worker's place when its loop ends.
        returned: Called when a call that was given up on has returned after all.
    """

    def __init__(
        self,
        call: Call,
        feed: Feed,
        port: Port,
        slots: list[Attempt | None],
        *,
        keeps_results: bool,
        retry: Retry | None,
        timeout_s: float | None,
        ended: Callable[[int], None],
        returned: Callable[[], None],
    ) -> None:
        self._call = call
        self._feed = feed
        self._port = port
        self._slots = slots
        self._keeps_results = keeps_results
        self._retry = retry
        self._timeout_s = timeout_s
        self._ended = ended
        self._returned = returned
        self._pid = getpid()
        # Guards "this try has ended": with a timeout two threads may say so, and the first one is believed.
        self._ending = threading.Lock()
        self._threads: list[int | None] = [None] * len(slots)
        self.fault: BaseException | None = None

    def loop(self, place: int) -> None:
        """Work until there is nothing more to do, or nobody to say it to."""
        worker = f"thread-{place + 1}"
        put = self._port.channel.put
        enter_run(self._port)
        self._threads[place] = threading.get_ident()
        has_place = True
        try:
            while (attempt := self._feed.next()) is not None:
                if attempt.status == "queued":
                    attempt.worker = worker
                    self._slots[place] = attempt
                    has_place = self._perform(attempt)
                    if getpid() != self._pid:
                        _end_of_fork(attempt)
                    if not has_place:  # another thread has it by now, and the try's outcome is on file
                        if self._feed.waiting is not None:
                            self._feed.waiting.returned(attempt)
                        return
                put(attempt, weight=attempt.weight)
                self._slots[place] = None
        except (WriterBrokenError, ChannelClosedError):
            pass  # the engine knows, and says why
        except BaseException as error:  # our own fault: the run must not go on as if nothing were
            self.fault = error
            self._feed.close()
        finally:
            enter(None)
            if has_place:
                self._slots[place] = None
                self._ended(place)
            else:
                self._returned()

    def _perform(self, attempt: Attempt) -> bool:
        """Call the function; returns false when the attempt was given up on meanwhile."""
        enter(attempt)
        attempt.started_at = utc_now()
        attempt.t0 = began = monotonic()
        if self._timeout_s is not None:
            attempt.deadline = began + self._timeout_s
        attempt.status = "running"
        # Nothing is noted on the attempt before the last line: with a timeout another thread may have ended it, and
        # what this call says late must not reach the ledger.
        message: str | None
        failure: BaseException | None = None
        result = finished_at = trace = None
        try:
            value = self._call(attempt, self._port)
            status, message = "done", attempt.cell[2] or None
            if attempt.said_finish is not None:
                status, message, result, finished_at = _believed(attempt.said_finish)
            elif self._keeps_results and value is not None:
                result = _result(value)
        except TaskCancelledError as error:
            status, message = "cancelled", describe(error)
        except TaskTimeoutError as error:
            status, failure = "timed_out", error
        except BaseException as error:  # SystemExit too: it is the task's, not the program's
            status, failure = "error", error
        if failure is not None:
            result = finished_at = None
            message, trace = _described(failure)
        if self._timeout_s is None:
            self._end(attempt, status, message, result, finished_at, failure, trace)
            return True
        with self._ending:
            if attempt.status != "running":
                return False
            self._end(attempt, status, message, result, finished_at, failure, trace)
        return True

    def give_up(self, place: int, attempt: Attempt) -> bool:
        """End an attempt whose time is over from outside; the engine's thread.

        Its call goes on, since a thread cannot be ended; what it says from now on is refused.

        Returns:
            False when it has just ended by itself.
        """
        with self._ending:
            if attempt.status != "running":
                return False
            error = TaskTimeoutError(
                f"not done after {self._timeout_s:g} s; its call goes on, since a thread cannot be ended"
            )
            attempt.given_up = True
            self._end(
                attempt, "timed_out", str(error), None, None, error, _whereabouts(self._threads[place], error)
            )
        return True

    def _end(
        self,
        attempt: Attempt,
        status: str,
        message: str | None,
        result: str | None,
        finished_at: str | None,
        failure: BaseException | None,
        trace: str | None,
    ) -> None:
        """Note the outcome; the status last, since it says that the attempt is over."""
        if status != "done":
            attempt.staged = None
            attempt.exception, attempt.error = failure, trace
            attempt.retry_in = self._next_try_in(attempt, status)
        elif attempt.staged is not None:
            attempt.rows_written = sum(len(part.rows) for part in attempt.staged if type(part) is Block)
        if attempt.unkept:
            note_gap(attempt)
        if message is not None:
            attempt.message = storable(message)
        if result is not None:
            attempt.result = result
        attempt.elapsed_s = monotonic() - attempt.t0
        if attempt.retry_in is None:
            attempt.item = None  # it may be large, and the outcome may wait a moment for its commit
        attempt.finished_at = finished_at or utc_now()
        attempt.status = status

    def _next_try_in(self, attempt: Attempt, status: str) -> float | None:
        """Return when a failed attempt is tried again, in seconds; ``None`` when it is not."""
        policy = self._retry
        if policy is None or status == "cancelled" or self._feed.closed or self._port.cancelling:
            return None
        return policy.delay_after(attempt.attempt) if policy.wants(attempt.exception, attempt.attempt) else None


def _believed(said: MsgTaskFinished) -> tuple[str, str, str | None, str]:
    """Take a worker's own word on how it ended: status, message, result and time."""
    if said.status not in _WORKER_STATUSES:
        raise ValueError(f'a task finishes as "done", "error" or "cancelled", not {clean(said.status, 40)!r}')
    if said.result is None or type(said.result) is str:
        result = said.result if said.result is None else storable(said.result)
    else:
        result = _result(said.result)
    message = said.message if type(said.message) is str else describe(said.message)
    return said.status, message, result, storable(str(said.finished_at))


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


def _described(error: BaseException) -> tuple[str, str]:
    """Return an exception's message and its traceback."""
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename == __file__:
            frame = frame.tb_next  # ours: people look for theirs
        text = "".join(traceback.format_exception(type(error), error, frame))
    except BaseException as broken:  # a foreign __str__ or __cause__ may do anything
        text = f"{type(error).__name__} (its traceback cannot be shown: {type(broken).__name__})"
    return shorten(describe(error, 2000) or type(error).__name__, 2000), _fitted(text)


def _whereabouts(ident: int | None, error: TaskTimeoutError) -> str:
    """Return where a thread is now, as a traceback ends."""
    frame = None if ident is None else sys._current_frames().get(ident)
    places = traceback.extract_stack(frame) if frame is not None else []
    ours = [place for place, entry in enumerate(places) if entry.filename == __file__]
    stack = "".join(traceback.format_list(places[ours[-1] + 1 :] if ours else places))
    return _fitted(f"Its call was here when its time was over:\n{stack}{type(error).__name__}: {error}\n")


def _fitted(text: str) -> str:
    return storable(text if len(text) <= _TRACEBACK_LIMIT else "…" + text[-_TRACEBACK_LIMIT:])
