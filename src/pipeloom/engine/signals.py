"""Signals that arrive during runs.

::

    signal ─▶ Handlers, in the main thread ─┬─▶ Signals of every run of this process: one drains, two cancel, …
                                            └─▶ the handler that was there before

Only the main thread can have handlers. A run in the main thread sets them for its duration. A run in another
thread sets them through the event loop of the main thread, such as that of asyncio or of a web server
(:mod:`~pipeloom.engine.mainloop`); without such a loop it receives no signals, and the program must handle
them.

A handler runs between two bytecodes of the main thread, which may hold any lock, such as the one inside an
``Event``
that it waits for. The handler therefore takes no lock: it counts, and wakes the run through
``queue.SimpleQueue.put``, which is reentrant.

Source: https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any, Final, Protocol, Self

from pipeloom.engine.mainloop import main_loop

__all__ = ["Signals"]

_STOPS: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_SUSPENDS: Final = getattr(signal, "SIGTSTP", None)  # Ctrl-Z
_MOMENT_S: Final = 0.2


class Region(Protocol):
    """What is drawn on the terminal; it must be removed while the shell has the terminal."""

    def pause(self) -> None:
        """Restore the terminal as it was."""

    def resume(self) -> None:
        """Draw again."""


class Signals:
    """The signals that one run has received; a context manager, entered in the run's thread.

    Args:
        notify: Wakes the run; must be safe in a signal handler.

    Attributes:
        count: How many signals have come.
        first: The number of the first one.
        raised: What a handler of the user's has raised; raised again when the run is over.
        region: What to remove from the terminal while the program is suspended.
        is_awaited: The run is awaited on an event loop of the main thread, where exceptions arrive.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        self.notify = notify
        self.count = 0
        self.first: int | None = None
        self.raised: BaseException | None = None
        self.region: Region | None = None
        self.is_awaited = False
        self.suspended = False  # Ctrl-Z was pressed; the run's thread acts on it
        self._may_raise = False
        self._handlers: Handlers | None = None

    def __enter__(self) -> Self:
        try:
            _listening.append(self)
            if threading.current_thread() is threading.main_thread():
                self._handlers = Handlers(self)
                self._handlers.set()
            else:
                _elsewhere.join()
        except BaseException:  # before our handler is set, Ctrl-C raises wherever the main thread is
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._handlers is not None:
                self._handlers.restore()
            else:
                _elsewhere.leave()
        finally:
            _listening[:] = [run for run in _listening if run is not self]

    def hear(self, number: int) -> None:
        """Count a signal; called in its handler."""
        if self.first is None:
            self.first = number
        self.count += 1
        self.notify()

    def cancel(self) -> None:
        """Act as if two signals had come, unless one has: then whoever sends them decides how far to stop.

        The next signal is the third.
        """
        if not self.count:
            self.count = 2
            self.notify()

    def ask(self, stage: int) -> None:
        """Act as if one signal had come, or two; never goes back. Any thread."""
        if self.count < stage:
            self.count = stage
            self.notify()

    @contextmanager
    def hearing(self) -> Iterator[Callable[[], None]]:
        """Within this block, the main thread waits for a run in another thread, and receives signals for it.

        In any other thread it does nothing.

        Yields:
            A function to call several times a second: it does what a signal asks of the main thread, such as
                suspend.
        """
        if threading.current_thread() is not threading.main_thread():
            yield lambda: None
            return
        handlers = Handlers(self)
        handlers.set()

        def look() -> None:
            if self.suspended:
                self.suspended = False
                handlers.stand_still()

        try:
            yield look
        finally:
            handlers.restore()

    def look(self) -> None:
        """Do what a signal asks of the run's thread: suspend for Ctrl-Z, leave at the third.

        Raises:
            KeyboardInterrupt: The third has come.
        """
        if self.suspended and self._handlers is not None:
            self.suspended = False
            self._handlers.stand_still()
        if self.count >= 3:
            raise KeyboardInterrupt

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Within this block, where a system call may block, the third signal raises by itself; not to be nested."""
        self._may_raise = True
        try:
            yield
        finally:
            self._may_raise = False

    def leaves_now(self) -> bool:
        """Return whether a handler is to raise; true only once, because the way out has much to restore."""
        if self.count >= 3 and self._may_raise:
            self._may_raise = False
            return True
        return False


_listening: list[Signals] = []


class Handlers:
    """Our handlers, wrapped around the previous ones; the main thread.

    Ignored signals stay ignored (nohup, background jobs), and handlers set outside Python stay.

    Args:
        run: The run in the main thread, which keeps what a user's handler raises. Without one, the previous handler
            acts as it would without us.
        later: Without a run: calls a function from the main thread's event loop.
    """

    def __init__(self, run: Signals | None, later: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._run = run
        self._later = later
        self._has_told = False  # asyncio.run's handler, which first cancels the main task
        self._previous: dict[int, Any] = {}

    def set(self) -> None:
        """Replace the present handlers by ours."""
        _set.append(self)
        for number in _STOPS:
            previous = signal.getsignal(number)
            if previous not in (signal.SIG_IGN, None):
                self._previous[number] = previous
                signal.signal(number, self.handle)
        if _SUSPENDS is not None and signal.getsignal(_SUSPENDS) is signal.SIG_DFL:
            self._previous[_SUSPENDS] = signal.SIG_DFL
            signal.signal(_SUSPENDS, self._suspend)

    def restore(self) -> None:
        """Put the previous handlers back, unless somebody has set other ones meanwhile."""
        _set[:] = [handlers for handlers in _set if handlers is not self]
        for number, previous in reversed(self._previous.items()):  # SIGINT last: once restored, it may raise here
            if signal.getsignal(number) in (self.handle, self._suspend):
                signal.signal(number, signal.default_int_handler if _is_over(previous) else previous)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Notify all runs, then call the previous handler."""
        if not _listening:
            self.restore()  # the loop that was to call it was closed
        for run in tuple(_listening):
            run.hear(number)
        self._pass_on(number, frame)
        if self._run is not None and self._run.leaves_now():
            raise KeyboardInterrupt

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[number]
        if self._run is None:
            self._as_if_we_were_not_there(previous, number, frame)
        elif callable(previous) and previous is not signal.default_int_handler:
            try:
                _call(previous, number, frame)
            except BaseException as error:  # noqa: BLE001 - raised again when the run has stopped
                # A plain KeyboardInterrupt adds nothing to the one that the run raises.
                if self._run.raised is None and type(error) is not KeyboardInterrupt:
                    self._run.raised = error

    def _as_if_we_were_not_there(self, previous: Any, number: int, frame: FrameType | None) -> None:
        if any(run.is_awaited for run in tuple(_listening)) and self._would_raise(previous):
            return  # raising here would break whatever the loop is doing: the await raises instead
        if callable(previous):
            _call(previous, number, frame)
        elif not _listening:  # otherwise each run raises it to its caller
            signal.raise_signal(number)

    def _would_raise(self, previous: Any) -> bool:
        """Return whether a handler raises: Python's own, and from the second signal on that of ``asyncio.run``."""
        if previous is signal.default_int_handler:
            return True
        if _main_task_of(previous) is None:
            return False
        was_told, self._has_told = self._has_told, True
        return was_told

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Note Ctrl-Z: the terminal must be restored first, which takes locks, so not in this handler."""
        if self._run is not None:
            self._run.suspended = True
            self._run.notify()
        elif self._later is not None:
            self._later(self.stand_still)

    def stand_still(self) -> None:
        """Stop the process as Ctrl-Z does; returns when it is continued."""
        assert _SUSPENDS is not None
        regions = [run.region for run in tuple(_listening) if run.region is not None][:1]
        for region in regions:
            region.pause()
        try:
            signal.signal(_SUSPENDS, signal.SIG_DFL)
            signal.raise_signal(_SUSPENDS)
            signal.signal(_SUSPENDS, self._suspend)
        finally:
            for region in regions:
                region.resume()


def _call(previous: Any, number: int, frame: FrameType | None) -> None:
    owner = getattr(previous, "__self__", None)
    if isinstance(owner, Handlers):
        owner._pass_on(number, frame)  # noqa: SLF001 - the same class; all runs have been notified
    else:
        previous(number, frame)


def _is_over(previous: Any) -> bool:
    """Return whether this is the handler of an ``asyncio.run`` that has ended but could not remove it."""
    task = _main_task_of(previous)
    return task is not None and task.done()


def _main_task_of(handler: Any) -> Any:
    """Return the task that the handler of an ``asyncio.run`` cancels; ``None`` for any other handler."""
    return handler.keywords.get("main_task") if isinstance(handler, partial) else None


class _Elsewhere:
    """The handlers for all runs in other threads, set while there are any such runs; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._set: tuple[Any, Handlers] | None = None

    def join(self) -> None:
        """Ask the main thread to set handlers as soon as possible, if it runs an event loop."""
        with self._lock:
            self._runs += 1
            if self._set is None and (loop := main_loop()) is not None:
                handlers = Handlers(None, loop.call_soon_threadsafe)
                try:
                    loop.call_soon_threadsafe(handlers.set)
                except RuntimeError:
                    return  # the loop has just been closed
                self._set = loop, handlers

    def leave(self) -> None:
        """Ask the main thread to restore the previous handlers; waits a moment for it."""
        with self._lock:
            self._runs -= 1
            if self._runs or self._set is None:
                return
            (loop, handlers), self._set = self._set, None
        done = threading.Event()

        def put_back() -> None:
            handlers.restore()
            done.set()

        try:
            loop.call_soon_threadsafe(put_back)
        except RuntimeError:
            return  # the loop is closed: our handlers pass signals on
        done.wait(_MOMENT_S)


_set: list[Handlers] = []
_elsewhere = _Elsewhere()


_forking = threading.local()


def _before_fork() -> None:
    """Hold signals back: Python loses a signal that reaches a child before its handlers are restored."""
    _forking.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS) if _set else None


def _after_fork() -> None:
    if _forking.blocked is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.blocked)


def _after_fork_in_child() -> None:
    """Restore the previous handlers in a forked child, where no run exists."""
    global _elsewhere  # noqa: PLW0603 - another thread of the parent may hold its lock
    _elsewhere = _Elsewhere()
    _listening.clear()
    for handlers in _set[::-1]:
        handlers.restore()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
