"""Hands the run's inputs to the workers, once they have been read and the ledger has admitted them.

::

    iterator ──reader──▶ pulled ──a worker asks the writer──▶ ready ──▶ (limiter) ──▶ workers
    what tasks find ──▶ the file ──▶ line ──a worker asks──▶
                                       failed tries ──▶ retry queue ──▶

The limiter exists in a run with limits, and in a run that was slowed down, for as long as that lasts. There is
no list and no future per task. Only the reader's thread ever waits for the iterator, so a slow input delays
nothing else, not even the input before it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pipeloom.engine.admitting import Admitting, refused
from pipeloom.engine.identity import Identity, Unidentified, identifier, version_teller
from pipeloom.engine.limiter import Limiter
from pipeloom.engine.line import FoundRequests, Line
from pipeloom.engine.reader import Pulled, Reader
from pipeloom.engine.retry_queue import RetryQueue
from pipeloom.engine.tickets import UncountedError
from pipeloom.ledger.admission import Admission
from pipeloom.ledger.attempt import Attempt
from pipeloom.limit import Limit
from pipeloom.statuses import QUEUED
from pipeloom.writer.requests import Request

__all__ = ["Intake"]

_LONGEST_S: Final = 3600.0  # of one wait: conditions refuse very large timeouts


class Intake:
    """Hands out attempts until the inputs end, or the run closes it.

    Args:
        items: The inputs; may be infinite.
        keyed: Tasks are identified by key rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
        admit: Answers n keys or numbers with n admissions, at once or, if the ledger must be read, by a
            request. With ``version`` it is given n versions as well.
        version: Input → a value that changes when the input changes; ``None`` if versions are not used.
        workers: Number of workers, and the size of the first chunk.
        db: The path of the database file, for error messages.
        patience_s: How long to wait for an abandoned call to return before its input is retried.
        is_mine: Decides by its identity whether an input belongs to this run; ``None`` takes all.
        limits: The limits under which attempts start.
        found: Where inputs that tasks have added wait; ``None`` if tasks add none.

    Attributes:
        retries: Failed attempts that wait for a retry.
        line: The inputs that tasks have added.
    """

    def __init__(
        self,
        items: Iterable[object],
        *,
        keyed: bool,
        key: Callable[[Any], object] | None,
        admit: Callable[..., list[Admission] | Request[list[Admission]]],
        version: Callable[[Any], object] | None = None,
        workers: int,
        db: str = "",
        patience_s: float = 1.0,
        is_mine: Callable[[Identity], bool] | None = None,
        limits: Sequence[Limit] = (),
        found: FoundRequests | None = None,
    ) -> None:
        # Wakes workers when there is something to do, and the reader when there is room again.
        self._moved = threading.Condition()
        version_of = None if version is None else version_teller(version)
        self._reader = Reader(
            items,
            identify=identifier(keyed=keyed, key=key),
            version_of=version_of,
            is_mine=is_mine,
            smallest=workers,
            moved=self._moved,
        )
        self._admitting = Admitting(keyed=keyed, has_key=key is not None, db=db, skipped=self._reader.leaves)
        self.line = Line(self._moved, self._admitting, version_of, found)
        self._admit = admit
        self._has_versions = version is not None
        self._asked: tuple[list[Pulled], Request[list[Admission]]] | None = None
        self._ready: deque[Attempt] = deque()
        self._refilling = threading.Lock()
        self.retries = RetryQueue(self._moved, patience_s)
        self._limiter = Limiter(limits, self._moved) if limits else None
        self._closed = False

    def start(self) -> None:
        """Begin to read ahead, in a copy of the calling thread's context."""
        self._reader.start()

    @property
    def error(self) -> BaseException | None:
        """The exception that the inputs' iterator raised."""
        return self._reader.error

    @property
    def closed(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closed

    def shut(self) -> None:
        """Hand out nothing more. Takes no lock and wakes nobody; ``close`` must follow."""
        self._closed = True
        self._reader.shut()

    def close(self) -> None:
        """Admit nothing more; whoever waits in ``next`` gets ``None``. Closing twice is fine; any thread."""
        self.shut()
        with self._moved:
            self._moved.notify_all()

    def join(self, look: Callable[[], object]) -> None:
        """Wait until the inputs are released; see :meth:`~pipeloom.engine.reader.Reader.join`."""
        self._reader.join(look)

    # --- worker threads ---

    def next(self) -> Attempt | None:
        """Return the next attempt, or ``None`` at the end. Blocks while waiting for inputs.

        An attempt may come already ended: the ledger rejected its input, and it only has to be passed on to the
            writer.

        Raises:
            WriterBrokenError: The writer died.
        """
        retries = self.retries
        while not self._closed:
            if self._limiter is not None:
                attempt = self._next_limited(self._limiter)
            elif (attempt := retries.take()) is None and not retries.is_full:
                attempt = self._fresh()
            if attempt is not None:
                return attempt
            if not self._refill():
                return None
        return None

    def _fresh(self) -> Attempt | None:
        """Return an input that is ready, or ``None``."""
        try:
            attempt = self._ready.popleft()
        except IndexError:
            return None
        if attempt.weight > 1:
            self._reader.leaves(attempt.weight)
        if len(self._ready) * 2 < self._reader.size or self.line.has_more:
            self._ask_early()
        return attempt

    def _next_limited(self, limiter: Limiter) -> Attempt | None:
        """Return the next attempt that no limit holds back, or ``None``; the others wait in the limiter."""
        while not self._closed:
            if (attempt := limiter.take()) is not None:
                return attempt.to_begin()
            if not limiter.takes_more:
                return None
            if limiter.is_spent:
                self._drop(limiter)
                return None
            attempt = self.retries.take_failed()
            if attempt is None and not self.retries.is_full:
                attempt = self._fresh()
            if attempt is None:
                return None
            if attempt.retry_in is None and attempt.status != QUEUED:
                return attempt  # rejected before it began
            try:
                if limiter.pass_on(attempt):
                    return attempt.to_begin()
            except UncountedError as error:
                return refused(attempt.to_begin(), *error.why)
        return None

    def more(self, most: int) -> list[Attempt]:
        """Return further attempts that are ready, 0 to ``most``; does not wait, and leaves others their share.

        Returns none if starts are counted, because these attempts would start later than they were counted.
        """
        found: list[Attempt] = []
        ready, retries, reader = self._ready, self.retries, self._reader
        if self._closed or retries.is_full or self._limiter is not None:
            return found
        most = min(most, len(ready) // reader.smallest + 1)
        try:
            while len(found) < most:
                attempt = ready.popleft()
                if attempt.weight > 1:
                    reader.leaves(attempt.weight)
                found.append(attempt)
        except IndexError:
            pass
        if len(ready) * 2 < reader.size or self.line.has_more:
            self._ask_early()
        return found

    def give_back(self, attempts: list[Attempt]) -> None:
        """Take back attempts that have not started; they are handed out before all others."""
        for attempt in attempts:
            self.ended(attempt)
        with self._moved:
            self._ready.extendleft(reversed(attempts))
            self._reader.extra += sum(attempt.weight - 1 for attempt in attempts)
            self._moved.notify_all()

    def _drop(self, limiter: Limiter) -> None:
        """Remove a limiter that is no longer needed, unless the run is being slowed down again."""
        with self._moved:
            if limiter.is_spent:
                self._limiter = None

    def ended(self, attempt: Attempt) -> None:
        """Note that an attempt has ended, or did not start after all: it no longer counts against any limit."""
        if attempt.ticket is not None:
            limiter = self._limiter
            if limiter is not None:
                limiter.release(attempt)
            attempt.ticket = None

    @property
    def is_limited(self) -> bool:
        """Whether starts are counted or delayed."""
        return self._limiter is not None

    def slow_down(self, attempt: Attempt, seconds: float) -> None:
        """For a while, start no attempt that shares a value of ``per`` with this one; see ``Limiter.pause``."""
        with self._moved:
            if self._limiter is None:
                self._limiter = Limiter((), self._moved)
            self._limiter.pause(attempt, seconds)
            self._moved.notify_all()

    def held_up(self) -> tuple[int, float]:
        """Return how many attempts wait for a limit, and for how many seconds no task at all starts."""
        limiter = self._limiter
        return (0, 0.0) if limiter is None else (len(limiter), limiter.paused_s)

    def take_all(self) -> list[Attempt]:
        """Return the failed attempts that will not be retried, for the writer; after ``close``."""
        waiting = [] if self._limiter is None else self._limiter.take_all()
        return self.retries.take_all([attempt for attempt in waiting if attempt.retry_in is not None])

    def _ask_early(self) -> None:
        """Ask before the attempts run out, so that workers stay busy while the writer executes a long statement."""
        ready, reader = len(self._ready), self._reader
        wants = self._asked is None and reader.pulled and ready * 2 < reader.size
        if (wants or self.line.wants(ready)) and self._refilling.acquire(blocking=False):
            try:
                if wants:
                    self._ask()
                self.line.ask()
            finally:
                self._refilling.release()

    def _refill(self) -> bool:
        """Turn read inputs into attempts, or wait until a retry is due; false if neither will come."""
        with self._refilling:
            if self._ready and not self._is_held_up():
                return True
            if self._ready or self._asked is None:
                if not self._await_work():
                    return False
                if self._ready:
                    return True
            self._ask()
            self.line.ask()
            if self._asked is not None:
                (chunk, request), self._asked = self._asked, None
                self._ask()
                self._make_ready(chunk, request.result())
            if self.line.is_here(len(self._ready)):
                found = self.line.take()
                self._reader.comes(sum(attempt.weight - 1 for attempt in found))
                self._put_ready(found)
            return True

    def _is_held_up(self) -> bool:
        """Return whether new inputs must wait: too many attempts wait already, or none may start now."""
        return self.retries.is_full or not (self._limiter is None or self._limiter.takes_more)

    def _await_work(self) -> bool:
        """Wait until an input has been read, or a retry is due; false if neither will come."""
        retries, reader = self.retries, self._reader
        with self._moved:
            reader.awaited_by += 1
            try:
                while not self._closed:
                    is_exhausted = reader.is_exhausted  # before looking: the reader first pulls, then sets this
                    if self._ready:
                        if not self._is_held_up():
                            return True
                    elif reader.pulled or self._asked is not None or not self.line.is_over:
                        return True  # everything may have been handed out already
                    elif is_exhausted and retries.is_over:
                        return False
                    wait_s = _LONGEST_S
                    limiter = self._limiter
                    if limiter is not None:
                        if limiter.is_due():
                            return True
                        wait_s = min(wait_s, limiter.until_due_s())
                    if limiter is None or limiter.takes_more:
                        if retries.is_due():
                            return True
                        wait_s = min(wait_s, retries.until_due_s())
                    self._moved.wait(wait_s)
                return False
            finally:
                reader.awaited_by -= 1

    def _ask(self) -> None:
        """Ask about inputs that were read, unless an answer is outstanding; does not wait for a slow answer."""
        if self._asked is None and self._reader.pulled:
            chunk = self._reader.take()
            asked = [pulled for pulled in chunk if type(pulled[2]) is not Unidentified]
            identities = [pulled[1] for pulled in asked]
            more = [[pulled[5] for pulled in asked]] if self._has_versions else []
            answer = self._admit(identities, *more)
            if isinstance(answer, Request):
                self._asked = chunk, answer
            else:
                self._make_ready(chunk, answer)

    def _make_ready(self, chunk: list[Pulled], admissions: list[Admission]) -> None:
        self._put_ready(list(self._admitting.attempts(chunk, admissions)))

    def _put_ready(self, attempts: list[Attempt]) -> None:
        self.retries.went_out(len(attempts))
        self._ready.extend(attempts)
