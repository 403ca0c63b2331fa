"""Executors that do what no executor should, and yet do: objects with ``submit()``, of no library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pipeloom.executors.remote.chunks import read_done

__all__ = ["Deaf", "Direct", "Forgetful", "Liar", "Repeating"]


class Answer:
    """A future that is answered whenever, and however often, its executor likes."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Answer], None]] = []
        self._what: list[Any] = []  # one, once it is answered
        self._lock = threading.Lock()

    def add_done_callback(self, callback: Callable[[Answer], None]) -> None:
        with self._lock:
            self._callbacks.append(callback)
            if self._what:
                callback(self)

    def answer(self, what: Any) -> None:
        """Answer, once more."""
        with self._lock:
            self._what = [what]
            for callback in self._callbacks:
                callback(self)

    def result(self) -> Any:
        (what,) = self._what
        if isinstance(what, BaseException):
            raise what
        return what


class Direct:
    """Runs what it is given in a thread of its own, and answers; the others do so in their ways."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        future = Answer()
        threading.Thread(target=lambda: self.run(future, lambda: fn(*args))).start()
        return future

    def run(self, future: Answer, call: Callable[[], Any]) -> None:
        future.answer(call())


class Repeating(Direct):
    """Runs everything twice, and says everything three times."""

    def run(self, future: Answer, call: Callable[[], Any]) -> None:
        first, second = call(), call()
        for what in (first, second, first):
            future.answer(what)


class Forgetful(Direct):
    """Says of each chunk with a new task that it is lost, and brings it after all, when another has come."""

    def __init__(self) -> None:
        self._seen: set[Any] = set()
        self._late: list[tuple[Answer, Any]] = []
        self._lock = threading.Lock()

    def run(self, future: Answer, call: Callable[[], Any]) -> None:
        what = call()
        tasks = {left.ended.result for left in read_done(what).tasks} if type(what) is bytes else set()
        with self._lock:
            is_new = not tasks <= self._seen
            self._seen |= tasks
            late = list(self._late)
            if is_new:
                self._late.append((future, what))
        future.answer(RuntimeError("a node went away") if is_new else what)
        for earlier, told in [] if is_new else late:
            earlier.answer(told)


class Liar(Direct):
    """Gives back what no chunk gives.

    Args:
        what: Instead.
        times: How often; then it behaves.
    """

    def __init__(self, what: object, times: int) -> None:
        self._what = what
        self._times = times

    def run(self, future: Answer, call: Callable[[], Any]) -> None:
        answer = call()
        if type(answer) is bytes and self._times:
            self._times -= 1
            answer = self._what
        future.answer(answer)


class Deaf:
    """Never answers."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        return Answer()
