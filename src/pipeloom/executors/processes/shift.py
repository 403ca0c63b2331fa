"""The run's side of one worker process: what was sent to it, and what came back.

The attendant's thread owns it; the run's thread observes the running task, and may end it from outside.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic, sleep
from typing import Final, Generic

from pipeloom.data.rates import duration
from pipeloom.errors import TaskTimeoutError
from pipeloom.executors.base import Desk, T
from pipeloom.executors.processes.answers import AbandonedError, answer_to
from pipeloom.executors.processes.crash import death, frames_of
from pipeloom.executors.processes.launch import WorkerProcess
from pipeloom.executors.processes.open_tasks import OpenTasks
from pipeloom.executors.processes.orders import Orders
from pipeloom.executors.processes.page import NEVER
from pipeloom.executors.processes.parcels import LEAVE, Chunk
from pipeloom.executors.processes.pipe import Message
from pipeloom.executors.processes.words import (
    Abandoned,
    Asked,
    ChunkEnded,
    Delivered,
    Hello,
    Logged,
    Numbered,
    SlowedDown,
    Warned,
    Word,
    read_word,
)
from pipeloom.executors.remote.calls import call_of
from pipeloom.executors.remote.forms import Ended, Failure, Said, encode, read_ended
from pipeloom.executors.remote.messages import message_of
from pipeloom.wire import LogLine
from pipeloom.worker.logs import keep_line
from pipeloom.worker.perform import failed_before

__all__ = ["BootError", "Shift"]

logger = logging.getLogger("pipeloom")

_STUCK_S: Final = 0.05  # after this time, a task counts as holding up those queued behind it
_SETTLED_S: Final = 0.005  # by then a worker has seen a new limit, or we see its claim of a task
_LEAVE_S: Final = 5.0  # how long a worker has to exit `local=` and end
_TICK_S: Final = 0.1
_DEAD_S: Final = 1.0  # how long a worker has to end once its pipe is closed


class BootError(Exception):
    """A worker could not start."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.why)
        self.failure = failure


class _Sent:
    """A chunk that was sent."""

    __slots__ = ("number", "read", "serials")

    def __init__(self, number: int, serials: range) -> None:
        self.number = number
        self.serials = serials
        self.read = 0  # up to where its outcomes have been read


class Shift(Generic[T]):
    """One worker process.

    Args:
        worker: The process.
        orders: The orders of the pool.
        desk: The desk of the run.
        place: The worker's place in the pool, from 0.

    Attributes:
        reason: Why the process is ended, if known.
    """

    def __init__(self, worker: WorkerProcess, orders: Orders, desk: Desk[T], place: int) -> None:
        self._orders = orders
        self._worker = worker
        self._desk = desk
        self._sent: deque[_Sent] = deque()
        self._open = OpenTasks(desk, place)
        self._serial = 0
        self._uncounted = 0  # the last task that was sent while no limit applied
        self._chunks = 0
        self._heard = 0
        self._early: deque[Ended] = deque()  # outcomes that must wait for earlier words
        self._stuck: tuple[int, float] = (0, 0.0)
        self._limit = NEVER  # the first task that may not start
        self._silent_since: float | None = None  # since when all its tasks have ended without a word of that
        self.reason: Exception | None = None
        # Killed because of one task: if that ended meanwhile, the next one is not to blame.
        self._is_given_up = False
        self._later: deque[Message] = deque()  # messages that arrived while a question was being answered
        self.is_up = False
        self.has_ended = False
        self.took: tuple[int, float] | None = None  # tasks and seconds of the chunk that ended last
        try:
            worker.page.limit(NEVER)
            worker.pipe.send(orders.boot)
        except OSError:
            pass  # it has died, which `listen` will notice

    # --- the run's thread ---

    def look(self) -> None:
        """Update which task is running, and its progress."""
        desk = self._desk
        with self._open.lock:
            if not self.has_ended:
                page = self._worker.page
                page.tell(cancelling=desk.link.cancelling, backlog=desk.link.backlog())
                if desk.closed:
                    page.limit(0)
                self._open.see(page)

    def give_up(self, task: T, error: Exception | None) -> bool:
        """End a task from outside, with its process; return false if it has just ended by itself."""
        worker = self._worker
        with self._open.lock:
            serial = self._open.serial_of(task)
            if self.has_ended or serial is None or self._open.take(serial) is None:
                return False
            self._stop_before(serial + 1)
            # Only now: the signal interrupts a system call that the task waits in.
            where = frames_of(worker.where())
            if worker.page.running == serial:
                self._is_given_up = True
                worker.kill()
        if error is None:
            timeout_s = self._desk.link.brief.timeout_s
            error = TaskTimeoutError(f"not done after {duration(timeout_s)}: its process was killed")
        trace = f"The call was here when its time ran out:\n{where}{type(error).__name__}: {error}\n"
        self._open.end_outside(task, error, trace)
        return True

    def check_memory(self, limit_mb: float) -> None:
        """Kill the process if it takes more than ``limit_mb`` MiB; its running task then fails."""
        size = 0.0 if self.has_ended else self._worker.size_mb()
        if size > limit_mb and self.reason is None:
            self.reason = MemoryError(f"its worker process took {size:,.0f} MiB, more than memory_mb={limit_mb:g}")
            self._worker.kill()

    def kill(self) -> None:
        """Kill the process because the run is being abandoned; any thread."""
        self._worker.kill()

    # --- its attendant's thread: to the worker ---

    @property
    def performed(self) -> int:
        """The number of tasks that were sent."""
        return self._serial

    @property
    def has_more(self) -> bool:
        """Whether there is a task that may not have started; any thread."""
        return len(self._open) > 1

    @property
    def is_free(self) -> bool:
        """Whether it has nothing to do."""
        return not self._sent

    @property
    def may_take(self) -> bool:
        """Whether another chunk may be sent: at most two at a time, and only if the first is short."""
        if self._is_limited or len(self._sent) > 1:
            return False
        return not self._sent or self._orders.is_short(len(self._sent[0].serials))

    def send(self, tasks: Sequence[T]) -> None:
        """Send tasks; one that cannot be sent fails here."""
        first = self._serial + 1
        sent: dict[int, T] = {}
        calls = []
        for task in tasks:
            try:
                calls.append(call_of(task))
            except Exception as error:  # noqa: BLE001 - foreign code
                self._fail_unsent(task, error)
            else:
                self._serial += 1
                sent[self._serial] = task
        if not calls:
            return
        self._chunks += 1
        if not self._desk.is_limited:
            self._uncounted = self._serial
        self._open.add(sent)
        self._sent.append(_Sent(self._chunks, range(first, self._serial + 1)))
        try:
            self._worker.page.start_chunk(self._chunks % 2)
            self._worker.pipe.send(encode(Chunk(self._chunks, first, calls)))
        except OSError:
            pass  # as above

    def _fail_unsent(self, task: T, error: Exception) -> None:
        outcome = failed_before(task, self._desk.link, error, "the input cannot be sent to a worker process")
        self._desk.end(task, outcome)
        self._desk.hand_over(task)

    def recall(self) -> None:
        """Take back tasks that are queued behind a slow one, or that a limit now applies to."""
        page = self._worker.page
        if self._desk.is_limited:
            current, last = page.begun, self._uncounted
        else:
            current, last = page.running, self._serial
            if current == 0 or current != self._stuck[0]:
                self._stuck = current, monotonic()
                return
            if monotonic() - self._stuck[1] < _STUCK_S:
                return
        if self._is_limited or current >= last or not self._sent:
            return
        self._stop_before(current + 1)
        sleep(_SETTLED_S)
        claimed = page.begun
        self._open.give_back([serial for serial in self._open.serials() if serial > claimed])

    def _stop_before(self, serial: int) -> None:
        self._limit = serial
        self._worker.page.limit(serial)

    @property
    def _is_limited(self) -> bool:
        return self._limit != NEVER

    def leave(self) -> None:
        """Tell the process to end, since there is nothing more for it to do."""
        worker = self._worker
        try:
            worker.pipe.send(LEAVE)
            until = monotonic() + _LEAVE_S
            while monotonic() < until and not worker.has_ended():
                for message in worker.pipe.receive(_TICK_S):
                    self._hear(message)
        except (EOFError, OSError, ValueError):
            pass
        if not worker.wait(_DEAD_S):
            logger.warning("a worker process did not end within %g s of being told to, and was killed", _LEAVE_S)
        self.close(0.0)

    def close(self, patience_s: float) -> int:
        """Release the process; return how it ended, see ``WorkerProcess.close``."""
        with self._open.lock:
            self.has_ended = True
        return self._worker.close(patience_s)

    # --- its attendant's thread: from the worker ---

    def listen(self, timeout_s: float) -> None:
        """Process what the worker sends.

        Raises:
            EOFError: The process has ended.
            ValueError: It sent data that cannot be read.
            BootError: It could not start.
        """
        messages = self._worker.pipe.receive(timeout_s)
        for message in messages:
            self._hear(message)
            while self._later:
                self._hear(self._later.popleft())
        self._read_outcomes()
        if not messages:
            if self._worker.has_ended():
                raise EOFError
            self._must_go_on()

    def _must_go_on(self) -> None:
        """Raise rather than wait for ever for the end of a chunk whose tasks have all ended."""
        if not self._sent or any(self._open.get(serial) for serial in self._sent[0].serials):
            self._silent_since = None
        elif self._silent_since is None:
            self._silent_since = monotonic()
        elif monotonic() - self._silent_since > _LEAVE_S:
            raise ValueError("it went silent after all its tasks had ended")

    def _read_outcomes(self) -> None:
        for sent in self._sent:
            found, sent.read = self._worker.page.outcomes(sent.number % 2, sent.read)
            self._take(map(read_ended, found))

    def _take(self, outcomes: Iterable[Ended]) -> None:
        """Process the outcomes whose earlier words have all arrived, and keep the others."""
        self._early.extend(outcomes)
        while self._early and self._early[0].said <= self._heard:
            self._open.end(self._early.popleft())

    def _hear(self, message: Message) -> None:
        try:
            self._take_note(read_word(message.body), message)
        finally:
            message.close()

    def _take_note(self, word: Word, message: Message) -> None:
        self._heard += 1
        if isinstance(word, ChunkEnded):
            self._chunk_ended(word.number)
            self.took = word.tasks, word.took_s
        elif isinstance(word, Delivered):
            self._open.end(read_ended(word.outcome), message)
        elif isinstance(word, Hello):
            self.is_up = True
        elif isinstance(word, Failure):
            raise BootError(word)
        elif isinstance(word, Warned):
            logger.warning("%s", word.text)
        elif isinstance(word, Asked):
            self._answer(word, message)
        elif not isinstance(word, Abandoned) and (task := self._open.get(word.serial)) is not None:
            self._hear_of(task, word, message)

    def _hear_of(self, task: T, word: Logged | Numbered | Said | SlowedDown, message: Message) -> None:
        if isinstance(word, Logged):
            keep_line(task, LogLine(*word.line), was_heard=word.was_heard)
        elif isinstance(word, Numbered):
            task.number_said = word.number
            if word.is_another and not self._desk.link.brief.keyed:
                task.task_id, task.is_renumbered = word.number, True
        elif isinstance(word, SlowedDown):
            self._desk.link.slow_down(task, word.seconds)
        else:
            said = message_of(word, message, self._orders.kinds)
            self._desk.link.say(task, said, self._must_live, block=True, timeout=None)

    def _answer(self, word: Asked, luggage: Message) -> None:
        """Forward a question and send the answer; meanwhile only check whether it is still needed."""

        def look() -> None:
            self._must_live()
            for message in self._worker.pipe.receive(0):
                self._later.append(message)
                other = read_word(message.body)
                if isinstance(other, Abandoned) and other.number == word.number:
                    raise AbandonedError

        try:
            answer = answer_to(word, luggage, self._open.get(word.serial), self._desk.link, look)
            self._worker.pipe.send(answer)
        except AbandonedError:
            pass
        except OSError as error:
            raise EOFError from error

    def _must_live(self) -> None:
        if self._worker.has_ended():
            raise EOFError

    def _chunk_ended(self, number: int) -> None:
        self._silent_since = None
        self._read_outcomes()
        while self._sent and self._sent[0].number <= number:
            sent = self._sent.popleft()
            begun = min(self._worker.page.begun, self._limit - 1)
            if not self._desk.closed and any(self._open.get(one) for one in sent.serials if one <= begun):
                raise ValueError("the end of a chunk without the outcomes of its tasks")
            self._open.give_back(sent.serials)
        if not self._sent and self._is_limited and not self._desk.closed:
            self._stop_before(NEVER)

    def bury(self, reason: Exception | None = None) -> int:
        """Settle the tasks that were sent to a process that has ended; return how it ended.

        Outcomes that it had written count. Only the task that it was running fails. If it sent data that cannot be
        read, the first task without an outcome fails, since it would cause the same again, for ever.

        Args:
            reason: Why it was ended, if that was because of what it sent.
        """
        worker = self._worker
        self.reason = self.reason or reason
        worker.kill()
        try:
            worker.wait(_DEAD_S)
            while messages := worker.pipe.receive(0):
                for message in messages:
                    self._bury_word(message)
        except (EOFError, ValueError):
            pass
        try:
            self._heard = NEVER
            self._read_outcomes()
        except ValueError:
            pass
        culprit, since, words = worker.page.running, worker.page.since, worker.last_words()
        if reason is not None:
            first = min(self._open.serials(), default=0)
            culprit = first if first <= worker.page.begun else 0
        code = self.close(_DEAD_S)
        if not self._is_given_up:
            self._charge(culprit, since, code, words)
        self._sent.clear()
        self._open.give_back(self._open.serials())
        return code

    def _bury_word(self, message: Message) -> None:
        """Process what a worker sent before it ended; questions are dropped."""
        if isinstance(read_word(message.body), Asked | Failure):
            message.close()
        else:
            self._hear(message)

    def _charge(self, serial: int, since: float, code: int, words: str) -> None:
        task = self._open.take(serial, since)
        if task is not None:
            error, trace = death(code, words, self.reason)
            self._open.end_outside(task, error, trace)
            self._desk.hand_over(task)
