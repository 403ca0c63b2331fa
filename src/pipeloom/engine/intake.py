"""The run's inputs: read ahead a little by one thread, admitted by the ledger, ready for the workers.

::

    iterator ──reading thread──▶ pulled ──a worker asks the writer──▶ ready ──▶ workers
                                              failed tries ──▶ retry queue ──▶

No list and no future per task: at most about a thousand inputs are ahead of the workers, fewer when they are used
up slowly, or take more than 16 MiB of memory. Only the reading thread ever waits for the iterator, so an input that
is slow to come holds up nobody, not even the input before it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final

from pipeloom.data.text import attribute, describe, kind_of, shorten, storable
from pipeloom.data.weights import slots_for, weigh
from pipeloom.engine.identity import Identity, Unidentified, identifier
from pipeloom.engine.inputs import close_generators
from pipeloom.engine.retry_queue import RetryQueue
from pipeloom.ledger.admission import Admission, refusal_of
from pipeloom.ledger.attempt import Attempt
from pipeloom.worker.current import CallerContext
from pipeloom.writer.requests import Request

__all__ = ["Intake"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1
_STUCK_S: Final = 1.0
_CLOSING_S: Final = 10.0
_LARGEST: Final = 512
_QUICK_S: Final = 0.05
_SLOW_S: Final = 0.5
_NAME_LIMIT: Final = 200
_LARGE: Final = 10**_NAME_LIMIT  # past 4,300 digits Python refuses to write an int
_AHEAD: Final = 4096  # slots

Pulled = tuple[object, Identity, str | Unidentified | None, str, int]
"""An input, what identifies it, what else is stored of that (or why nothing does), its name, its slots."""


class Intake:
    """Hands out attempts until the inputs end, or the run closes it.

    Args:
        items: The inputs; may be endless.
        keyed: Tasks are known by key, rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
        admit: Answers n keys or numbers with n admissions, at once or, when the ledger must be asked, by a request.
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
        admit: Callable[[list[Any]], list[Admission] | Request[list[Admission]]],
        workers: int,
        patience_s: float = 1.0,
        is_mine: Callable[[Identity], bool] | None = None,
    ) -> None:
        self._items = items
        self._keyed = keyed
        self._has_key = key is not None
        self._identify = identifier(keyed=keyed, key=key)
        self._is_mine = is_mine
        self._admit = admit
        self._pulled: deque[Pulled] = deque()
        self._asked: tuple[list[Pulled], Request[list[Admission]]] | None = None
        self._ready: deque[Attempt] = deque()
        # A chunk of inputs is asked about at once. It grows while chunks are used up fast, and shrinks again.
        self._size = self._smallest = workers
        self._refilled_at = 0.0
        self._refilling = threading.Lock()
        # Guards the hand-over from the reading thread: "something was pulled", "there is room again".
        self._moved = threading.Condition()
        self.retries = RetryQueue(self._moved, patience_s)
        self._extra = 0  # what is ahead of the workers takes so many slots beyond 1 each
        self._reader_waits = False
        self._workers_wait = 0
        self._exhausted = False
        self._closed = False
        self._is_closing = False
        self.error: BaseException | None = None
        # A daemon: an input that never comes must not keep the interpreter from leaving.
        self._reader = threading.Thread(
            target=lambda: self._context.run(self._read), name="pipeloom-intake", daemon=True
        )

    def start(self) -> None:
        """Begin to read ahead, in a copy of the calling thread's context."""
        self._context = CallerContext().copy()
        self._reader.start()

    @property
    def closed(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closed

    def shut(self) -> None:
        """Hand out nothing more; takes no lock, wakes nobody, and is followed by ``close``."""
        self._closed = True

    def close(self) -> None:
        """Admit nothing more; whoever waits in ``next`` gets ``None``. Closing twice is fine; any thread."""
        self._closed = True
        with self._moved:
            self._moved.notify_all()

    def join(self, look: Callable[[], object]) -> None:
        """Wait until the reading thread has let go of the inputs; after ``close``, or at their end.

        A generator that is left early is closed there, in the thread that it ran in, so that its ``finally`` finds
        what it made. It is left to itself when an input does not come for a second, or its end takes ten.

        Args:
            look: Called ten times a second meanwhile; raises to leave.
        """
        began = monotonic()
        while self._reader.is_alive():
            self._reader.join(_TICK_S)
            if monotonic() - began > (_CLOSING_S if self._is_closing else _STUCK_S) and self._reader.is_alive():
                what = "their end takes long" if self._is_closing else "the next one does not come"
                logger.warning("the inputs are left to their thread, which closes them later: %s", what)
                return
            look()

    # --- the reading thread ---

    def _read(self) -> None:
        try:
            inputs = iter(self._items)
            self._items = ()
            try:
                place = 0
                for item in inputs:
                    place += 1  # noqa: SIM113 - enumerate() would hold on to the item while the next one is awaited
                    name = _name_of(item)
                    identity, known = self._identify(item, place, name)
                    is_mine = self._is_mine is None or self._is_mine(identity)
                    if is_mine:
                        weight = 1 if type(item) is int else slots_for(weigh(item))
                        self._pulled.append((item, identity, known, name, weight))
                        if weight > 1:
                            with self._moved:
                                self._extra += weight - 1
                    del item  # the next one may take long to come
                    if is_mine and (self._workers_wait or self._is_ahead()):
                        self._hand_over()
                    if self._closed:
                        return
            finally:
                self._is_closing = True
                close_generators(inputs)
        except BaseException as error:  # noqa: BLE001 - raised by the caller's iterator: it ends the run, not a worker
            self.error = _explained(error)
        finally:
            self._exhausted = True
            with self._moved:
                self._moved.notify_all()

    def _hand_over(self) -> None:
        """Wake a worker that waits; stop reading while this is far enough ahead."""
        with self._moved:
            self._moved.notify()
            self._reader_waits = True  # before looking: a worker empties first and looks at this second
            while self._is_ahead() and not self._closed:
                self._moved.wait()
            self._reader_waits = False

    def _is_ahead(self) -> bool:
        """Say whether a chunk is pulled and not asked about, or what is ahead takes much memory."""
        return len(self._pulled) >= self._size or self._extra >= _AHEAD

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
                self._leaves(attempt.weight)
            if len(self._ready) * 2 < self._size:
                self._ask_early()
            return attempt
        return None

    def more(self, most: int) -> list[Attempt]:
        """Return further attempts that are ready, 0 to ``most``; does not wait, and leaves others their share."""
        found: list[Attempt] = []
        ready, retries = self._ready, self.retries
        if self._closed or retries.is_full:
            return found
        most = min(most, len(ready) // self._smallest + 1)
        try:
            while len(found) < most:
                attempt = ready.popleft()
                if attempt.weight > 1:
                    self._leaves(attempt.weight)
                found.append(attempt)
        except IndexError:
            pass
        if len(ready) * 2 < self._size:
            self._ask_early()
        return found

    def give_back(self, attempts: list[Attempt]) -> None:
        """Take back attempts that have not begun: they come before all others."""
        with self._moved:
            self._ready.extendleft(reversed(attempts))
            self._extra += sum(attempt.weight - 1 for attempt in attempts)
            self._moved.notify_all()

    def _ask_early(self) -> None:
        """Ask before the attempts run out, so that workers go on while the writer has a statement to wait for."""
        if self._asked is None and self._pulled and self._refilling.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._refilling.release()

    def _leaves(self, weight: int) -> None:
        """Note that an input of so many slots is not ahead any more."""
        with self._moved:
            self._extra -= weight - 1
            if self._reader_waits:
                self._moved.notify_all()

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
        retries = self.retries
        with self._moved:
            self._workers_wait += 1
            try:
                while not self._closed:
                    if not self._is_held_up():
                        if self._pulled or self._ready or self._asked is not None:
                            return True
                        if self._exhausted and retries.is_over:
                            return False
                    if retries.is_due():
                        return True
                    self._moved.wait(retries.until_due_s())
                return False
            finally:
                self._workers_wait -= 1

    def _ask(self) -> None:
        """Ask about what was pulled, unless an answer is outstanding; does not wait for one that takes its time."""
        if self._asked is None and self._pulled:
            chunk = [self._pulled.popleft() for _ in range(min(len(self._pulled), self._size))]
            self._adapt()
            if self._reader_waits:
                with self._moved:
                    self._moved.notify_all()
            answer = self._admit([identity for _, identity, known, *_ in chunk if type(known) is not Unidentified])
            if isinstance(answer, Request):
                self._asked = chunk, answer
            else:
                self._make_ready(chunk, answer)

    def _make_ready(self, chunk: list[Pulled], admissions: list[Admission]) -> None:
        attempts = list(self._admitted(chunk, admissions))
        self.retries.went_out(len(attempts))
        self._ready.extend(attempts)

    def _adapt(self) -> None:
        now = monotonic()
        since, self._refilled_at = now - self._refilled_at, now
        if since < _QUICK_S:
            self._size = min(self._size * 2, _LARGEST)
        elif since > _SLOW_S:
            self._size = max(self._size // 2, self._smallest)

    def _admitted(self, chunk: list[Pulled], admissions: list[Admission]) -> Iterator[Attempt]:
        answers = iter(admissions)
        for item, identity, known, name, weight in chunk:
            if isinstance(known, Unidentified):
                attempt = _refused(Attempt(item, 0, None, name, "none"), *known)
            else:
                number, verdict = next(answers)
                if verdict == "skip":
                    if weight > 1:
                        self._leaves(weight)
                    continue
                attempt = self._attempt(item, identity, known, name, number, verdict)
            if weight > 1:
                attempt.weight = weight
            yield attempt

    def _attempt(
        self, item: object, identity: Identity, known: str | None, name: str, number: int, verdict: str
    ) -> Attempt:
        attempt = Attempt(item, number, identity if self._keyed else None, name, "new")
        if known is not None:
            attempt.input = known
        if verdict == "provisional":
            attempt.row = "provisional"
        elif verdict == "again":
            attempt.row = "old"
            attempt.seen_before = self._keyed
        elif verdict != "new":
            attempt.row = "none"
            error = refusal_of(verdict, attempt, chosen=self._has_key)
            if verdict != "taken":
                attempt.task_id = 0
            attempt = _refused(attempt, error, str(error), f"{type(error).__name__}: {error}")
        return attempt


def _refused(attempt: Attempt, error: Exception, message: str, trace: str) -> Attempt:
    vars(attempt).update(attempt.failed(error, message, trace))
    return attempt


def _explained(error: BaseException) -> BaseException:
    """Return what is raised for an error of the inputs: itself, unless it needs to be explained."""
    if kind_of(error) == "ProgrammingError" and "thread" in describe(error):  # of sqlite3, and of those like it
        instead = TypeError(
            "the inputs come from a database cursor that belongs to the caller's thread, but inputs are read in a "
            "thread of their own: connect inside a generator function, pass cursor.fetchall(), or open the "
            "connection with check_same_thread=False"
        )
        instead.__cause__ = error
        return instead
    return error


def _name_of(item: object) -> str:
    if type(item) is int and -_LARGE < item < _LARGE:
        return str(item)
    name = None if type(item) is str else attribute(item, "name")
    if not isinstance(name, str):
        name = describe(item, _NAME_LIMIT)
    return storable(shorten(name, _NAME_LIMIT))
