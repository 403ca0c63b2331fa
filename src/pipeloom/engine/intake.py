"""Hands the run's inputs to the workers: what was read is admitted by the ledger, and is ready then.

::

    iterator ──reader──▶ pulled ──a worker asks the writer──▶ ready ──▶ (limiter) ──▶ workers
    what tasks find ──▶ the file ──▶ line ──a worker asks──▶
                                       failed tries ──▶ retry queue ──▶

The limiter is there in a run with limits, and in one that was slowed down, as long as that lasts. No list and no
future per task. Only the reader's thread ever waits for the iterator, so an input that is slow to come holds up
nobody, not even the input before it.
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

_LONGEST_S: Final = 3600.0  # that is waited at once: a condition takes no larger number than some


class Intake:
    """Hands out attempts until the inputs end, or the run closes it.

    Args:
        items: The inputs; may be endless.
        keyed: Tasks are known by key, rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
        admit: Answers n keys or numbers with n admissions, at once or, when the ledger must be asked, by a request.
            With ``version`` it is given n versions as well.
        version: Input → what has changed when the input has; ``None`` where nobody wants to know.
        workers: Number of workers, the size of the first chunk.
        patience_s: How long a call that was given up on, and is to be tried again, gets to return.
        is_mine: Says by its identity whether an input is this run's; ``None`` takes all.
        limits: Which tries have to wait, although there is a worker for them.
        found: Where inputs wait that tasks have found; ``None`` if they find none.

    Attributes:
        retries: Failed tries that are to be tried again.
        line: The inputs that tasks have found.
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
        patience_s: float = 1.0,
        is_mine: Callable[[Identity], bool] | None = None,
        limits: Sequence[Limit] = (),
        found: FoundRequests | None = None,
    ) -> None:
        # Tells workers that there is something to do, and the reader that there is room again.
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
        self._admitting = Admitting(keyed=keyed, has_key=key is not None, skipped=self._reader.leaves)
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
        """What the inputs' iterator raised."""
        return self._reader.error

    @property
    def closed(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closed

    def shut(self) -> None:
        """Hand out nothing more; takes no lock, wakes nobody, and is followed by ``close``."""
        self._closed = True
        self._reader.shut()

    def close(self) -> None:
        """Admit nothing more; whoever waits in ``next`` gets ``None``. Closing twice is fine; any thread."""
        self.shut()
        with self._moved:
            self._moved.notify_all()

    def join(self, look: Callable[[], object]) -> None:
        """Wait until the inputs are let go of; see :meth:`~pipeloom.engine.reader.Reader.join`."""
        self._reader.join(look)

    # --- worker threads ---

    def next(self) -> Attempt | None:
        """Return the next attempt, or ``None`` at the end. Blocks while inputs are awaited.

        An attempt may come finished: refused at the door, it is only to be passed on to the writer.

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
        """Return an input that is ready, if there is one."""
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
        """Return the next attempt that no limit holds up, if there is one; the others wait in the limiter."""
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
                return attempt  # refused at the door
            try:
                if limiter.pass_on(attempt):
                    return attempt.to_begin()
            except UncountedError as error:
                return refused(attempt.to_begin(), *error.why)
        return None

    def more(self, most: int) -> list[Attempt]:
        """Return further attempts that are ready, 0 to ``most``; does not wait, and leaves others their share.

        None where starts are counted: those would begin later than they were.
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
        """Take back attempts that have not begun: they come before all others."""
        for attempt in attempts:
            self.ended(attempt)
        with self._moved:
            self._ready.extendleft(reversed(attempts))
            self._reader.extra += sum(attempt.weight - 1 for attempt in attempts)
            self._moved.notify_all()

    def _drop(self, limiter: Limiter) -> None:
        """Do without a limiter again, unless the run is being slowed down once more."""
        with self._moved:
            if limiter.is_spent:
                self._limiter = None

    def ended(self, attempt: Attempt) -> None:
        """Take note that a try has ended, or has not begun after all: no limit counts it any more."""
        if attempt.ticket is not None:
            limiter = self._limiter
            if limiter is not None:
                limiter.release(attempt)
            attempt.ticket = None

    @property
    def is_limited(self) -> bool:
        """Whether starts are counted, or put off."""
        return self._limiter is not None

    def slow_down(self, attempt: Attempt, seconds: float) -> None:
        """Let none begin for a while that shares a value of ``per`` with this one; see ``Limiter.pause``."""
        with self._moved:
            if self._limiter is None:
                self._limiter = Limiter((), self._moved)
            self._limiter.pause(attempt, seconds)
            self._moved.notify_all()

    def held_up(self) -> tuple[int, float]:
        """Return how many tries wait for a limit, and for how many seconds no task at all begins."""
        limiter = self._limiter
        return (0, 0.0) if limiter is None else (len(limiter), limiter.paused_s)

    def take_all(self) -> list[Attempt]:
        """Return the failed tries whose turn has not come, to be put to the writer once more; after ``close``."""
        waiting = [] if self._limiter is None else self._limiter.take_all()
        return self.retries.take_all([attempt for attempt in waiting if attempt.retry_in is not None])

    def _ask_early(self) -> None:
        """Ask before the attempts run out, so that workers go on while the writer has a statement to wait for."""
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
        """Turn what was pulled into attempts, or wait until a try is due; false at the end of both."""
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
        """Say whether so many tries wait that new inputs must, or whether none may begin now."""
        return self.retries.is_full or not (self._limiter is None or self._limiter.takes_more)

    def _await_work(self) -> bool:
        """Wait until something was pulled, or a try is due; false at the end of both."""
        retries, reader = self.retries, self._reader
        with self._moved:
            reader.awaited_by += 1
            try:
                while not self._closed:
                    is_exhausted = reader.is_exhausted  # before looking: it pulls first, and says this second
                    if self._ready:
                        if not self._is_held_up():
                            return True
                    elif reader.pulled or self._asked is not None or not self.line.is_over:
                        return True  # all of it may be done already
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
        """Ask about what was pulled, unless an answer is outstanding; does not wait for one that takes its time."""
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
