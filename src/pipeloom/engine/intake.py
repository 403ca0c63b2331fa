"""Hands the run's inputs to the workers: what was read is admitted by the ledger, and is ready then.

::

    iterator ──reader──▶ pulled ──a worker asks the writer──▶ ready ──▶ workers
                                       failed tries ──▶ retry queue ──▶

No list and no future per task. Only the reader's thread ever waits for the iterator, so an input that is slow to
come holds up nobody, not even the input before it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pipeloom.engine.admitting import Admitting
from pipeloom.engine.identity import Identity, Unidentified, identifier, version_teller
from pipeloom.engine.reader import Pulled, Reader
from pipeloom.engine.retry_queue import RetryQueue
from pipeloom.ledger.admission import Admission
from pipeloom.ledger.attempt import Attempt
from pipeloom.writer.requests import Request

__all__ = ["Intake"]


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
    ) -> None:
        # Tells workers that there is something to do, and the reader that there is room again.
        self._moved = threading.Condition()
        self._reader = Reader(
            items,
            identify=identifier(keyed=keyed, key=key),
            version_of=None if version is None else version_teller(version),
            is_mine=is_mine,
            smallest=workers,
            moved=self._moved,
        )
        self._admitting = Admitting(keyed=keyed, has_key=key is not None, skipped=self._reader.leaves)
        self._admit = admit
        self._has_versions = version is not None
        self._asked: tuple[list[Pulled], Request[list[Admission]]] | None = None
        self._ready: deque[Attempt] = deque()
        self._refilling = threading.Lock()
        self.retries = RetryQueue(self._moved, patience_s)
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
            if (attempt := retries.take()) is not None:
                return attempt
            try:
                attempt = None if retries.is_full else self._ready.popleft()
            except IndexError:
                attempt = None
            if attempt is None:
                if not self._refill():
                    return None
                continue
            if attempt.weight > 1:
                self._reader.leaves(attempt.weight)
            if len(self._ready) * 2 < self._reader.size:
                self._ask_early()
            return attempt
        return None

    def more(self, most: int) -> list[Attempt]:
        """Return further attempts that are ready, 0 to ``most``; does not wait, and leaves others their share."""
        found: list[Attempt] = []
        ready, retries, reader = self._ready, self.retries, self._reader
        if self._closed or retries.is_full:
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
        if len(ready) * 2 < reader.size:
            self._ask_early()
        return found

    def give_back(self, attempts: list[Attempt]) -> None:
        """Take back attempts that have not begun: they come before all others."""
        with self._moved:
            self._ready.extendleft(reversed(attempts))
            self._reader.extra += sum(attempt.weight - 1 for attempt in attempts)
            self._moved.notify_all()

    def _ask_early(self) -> None:
        """Ask before the attempts run out, so that workers go on while the writer has a statement to wait for."""
        if self._asked is None and self._reader.pulled and self._refilling.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._refilling.release()

    def _refill(self) -> bool:
        """Turn what was pulled into attempts, or wait until a try is due; false at the end of both."""
        with self._refilling:
            if self._ready and not self._is_held_up():
                return True
            if self._asked is None or self._is_held_up():
                if not self._await_work():
                    return False
                if self._ready or self._is_held_up():
                    return True
            self._ask()
            if self._asked is not None:
                (chunk, request), self._asked = self._asked, None
                self._ask()
                self._make_ready(chunk, request.result())
            return True

    def _is_held_up(self) -> bool:
        """Say whether so many tries wait that new inputs must."""
        return self.retries.is_full

    def _await_work(self) -> bool:
        """Wait until something was pulled, or a try is due; false at the end of both."""
        retries, reader = self.retries, self._reader
        with self._moved:
            reader.awaited_by += 1
            try:
                while not self._closed:
                    if not self._is_held_up():
                        if reader.pulled or self._ready or self._asked is not None:
                            return True
                        if reader.is_exhausted and retries.is_over:
                            return False
                    if retries.is_due():
                        return True
                    self._moved.wait(retries.until_due_s())
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
        attempts = list(self._admitting.attempts(chunk, admissions))
        self.retries.went_out(len(attempts))
        self._ready.extend(attempts)
