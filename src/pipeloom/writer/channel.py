"""The queue between workers and the writer: bounded, FIFO, closable, emptied in bulk.

``Channel`` has the methods of ``queue.Queue`` that producers use. In addition it can end: it is *closed* by its
owner, or *broken* if the consumer dies, in which case every blocked call raises ``WriterBrokenError``. Items that
must not get lost at the end, such as a question that a task waits for, are put under the lock that guards the end.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from math import inf
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from pipeloom.errors import ChannelClosedError, WriterBrokenError
from pipeloom.messages import MsgTaskProgress

__all__ = ["Channel"]

T = TypeVar("T")

CAPACITY: Final = 1024
"""Measured: 256 has 40 % less throughput; 8,192 has no more, and adds 20 ms of latency under a flood."""


class _Heavy(Generic[T]):
    """An item with a weight above 1."""

    __slots__ = ("item", "weight")

    def __init__(self, item: T, weight: int) -> None:
        self.item = item
        self.weight = weight


class Channel(Generic[T]):
    """A bounded queue with one consumer, which takes everything that is waiting under one lock.

    Any thread may put. A large item may have a weight above 1; the capacity limits the sum of the weights. An item
    of any weight is accepted as soon as the channel is not full, because waiting for an empty channel could take
    the whole run. The consumer takes up to half the capacity at once, or one item that is heavier.

    Args:
        maxsize: The capacity in weights, at least 1.

    Attributes:
        maxsize: The capacity in weights.
        taken: The weight of the items that were taken last, beyond 1 each.

    Raises:
        ValueError: ``maxsize`` is below 1.
    """

    def __init__(self, maxsize: int = CAPACITY) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        self.maxsize = maxsize
        self._make_locks()
        _known.add(self)
        self._items: deque[T | _Heavy[T]] = deque()
        # The weight beyond 1 each, of waiting items and of those taken last; how many taken items are not done.
        self._extra = 0
        self.taken = 0
        self._in_hand = 0
        self._end: Exception | None = None
        # The consumer sleeps on this lock and a producer releases it: unlike a Condition it is allocated once, and
        # the consumer that wakes does not contend with the producer that still holds the channel's lock.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._sleeping = False

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)

    def _orphan(self) -> None:
        """End the copy in a forked child, which has no consumer, and where only the forking thread has survived."""
        self._make_locks()  # another thread may have held them during the fork
        self._sleeping = False
        self._end = WriterBrokenError("a forked child process cannot send to the writer: use the run's own process")

    def put(self, item: T, block: bool = True, timeout: float | None = None, *, weight: int = 1) -> None:
        """Append an item; any thread. Blocks while the channel is full, unless ``block`` is false.

        Progress messages alone do not wake the writer until the channel is a quarter full: it collects them ten
        times a second, or when another message arrives.

        If there is room and the writer is not asleep, this takes no lock, which needs a third of the time:
        appending to a deque is atomic. Threads that put at the same instant may then exceed the capacity by one
        item each. An item that is put at the very instant of the writer's death is lost, like those waiting before
        it.

        Args:
            item: The message.
            block: Whether to wait for room.
            timeout: How long to wait at most, in seconds; ``None`` waits without limit.
            weight: How much of the capacity the item takes, at least 1; in a run, its memory slots.

        Raises:
            queue.Full: The channel was full, with ``block=False`` or until the timeout.
            ChannelClosedError: The channel was closed.
            WriterBrokenError: The consumer died, before the call or while it waited.
        """
        if weight == 1 and self._end is None and len(self._items) + self._extra < self.maxsize:
            self._items.append(item)
            if self._sleeping and (type(item) is not MsgTaskProgress or len(self._items) > self.maxsize // 4):
                with self._lock:
                    self._wake()
        else:
            self.put_surely(item, block, timeout, weight=weight)

    def put_surely(self, item: T, block: bool = True, timeout: float | None = None, *, weight: int = 1) -> None:
        """Append an item under the lock: either this raises, or the item is still there when the channel ends.

        Slightly slower than ``put``, which may lose an item that is put at the moment when the consumer dies.

        Args:
            item: The message.
            block: Whether to wait for room.
            timeout: How long to wait at most, in seconds; ``None`` waits without limit.
            weight: How much of the capacity the item takes, at least 1.

        Raises:
            queue.Full: The channel was full, with ``block=False`` or until the timeout.
            ChannelClosedError: The channel was closed.
            WriterBrokenError: The consumer died.
        """
        with self._lock:
            self._wait_for_room(block, timeout)
            self._items.append(item if weight == 1 else _Heavy(item, weight))
            self._extra += weight - 1
            self._wake()

    def _wake(self) -> None:
        if self._sleeping:
            self._sleeping = False
            self._bell.release()

    def put_nowait(self, item: T) -> None:
        """Append an item without waiting; any thread.

        Args:
            item: The message.

        Raises:
            queue.Full: The channel is full.
            ChannelClosedError, WriterBrokenError: As for ``put``.
        """
        self.put(item, block=False)

    def _wait_for_room(self, block: bool, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            if self._end is not None:
                raise self._ended()
            if not self.full():
                return
            left = None if deadline is None else deadline - monotonic()
            if not block or (left is not None and left <= 0):
                raise queue.Full
            self._wake()
            self._room.wait(left)

    def take(self, timeout: float | None = None, *, at_most: int | None = None) -> list[T]:
        """Take the waiting items, in order; the consumer's thread. Blocks while the channel is empty.

        Takes all of them unless they are heavy; then up to half the capacity, so that producers can fill the rest
        meanwhile. Sets ``taken`` to their weight beyond 1 each.

        Args:
            timeout: How long to wait for a first item, in seconds; ``None`` waits without limit, 0 does not wait.
            at_most: The maximum number of items; ``None`` for no limit.

        Returns:
            n items; 0 after the timeout, or if the channel has ended and is empty.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            with self._lock:
                self._sleeping = True  # before checking: a producer appends first and reads this second
                left = None if deadline is None else deadline - monotonic()
                if self._items or self._end is not None or (left is not None and left <= 0):
                    self._sleeping = False
                    return self._take(at_most, self.maxsize // 2)
            self._bell.acquire(timeout=-1 if left is None else left)
            with self._lock:
                if not self._sleeping:
                    # A producer woke us. If the wait had just timed out, the bell is still released: take it back.
                    self._bell.acquire(blocking=False)
                self._sleeping = False

    def _take(self, at_most: int | None = None, weight: float = inf) -> list[T]:
        # Replacing the deque would lose an item that a producer appends to the old one at this instant.
        waiting = self._items
        count = len(waiting) if at_most is None else min(at_most, len(waiting))
        self.taken = 0
        if self._extra:
            items: list[Any] = []
            while len(items) < count and len(items) + self.taken < weight:
                item = waiting.popleft()
                if type(item) is _Heavy:
                    self.taken += item.weight - 1
                    item = item.item
                items.append(item)
            self._extra -= self.taken
        else:
            items = [waiting.popleft() for _ in range(count)]
        if items:
            self._in_hand += len(items)
            self._room.notify_all()
        return items

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take one item like ``queue.Queue.get``; the consumer's thread.

        Args:
            block: Whether to wait until there is an item.
            timeout: How long to wait at most, in seconds; ``None`` waits without limit.

        Returns:
            The item.

        Raises:
            queue.Empty: The timeout expired, or the channel has ended and is empty.
        """
        items = self.take(timeout if block else 0, at_most=1)
        if not items:
            raise queue.Empty
        return items[0]

    def get_nowait(self) -> T:
        """Take one item without waiting; the consumer's thread.

        Returns:
            The item.

        Raises:
            queue.Empty: No item is waiting.
        """
        return self.get(block=False)

    def task_done(self, count: int = 1) -> None:
        """Report that taken items have been processed; ``join`` returns once all have been.

        Args:
            count: The number of items.

        Raises:
            ValueError: More items were reported than taken.
        """
        with self._lock:
            if count > self._in_hand:
                raise ValueError("task_done() called more often than items were taken")
            self._in_hand -= count
            if not self._in_hand:
                self._settled.notify_all()

    def join(self) -> None:
        """Block until every item put so far has been processed, or the channel is broken; any thread."""
        with self._lock:
            while (self._items or self._in_hand) and not isinstance(self._end, WriterBrokenError):
                self._settled.wait()

    def qsize(self) -> int:
        """Return the total weight of the waiting items."""
        return len(self._items) + self._extra

    def empty(self) -> bool:
        """Return whether no item is waiting."""
        return not self._items

    def full(self) -> bool:
        """Return whether ``put`` would block."""
        return self.qsize() >= self.maxsize

    @property
    def end(self) -> Exception | None:
        """The error that ``put`` would raise; ``None`` while the channel is open."""
        return self._end

    def close(self) -> None:
        """Refuse every later ``put``; waiting items can still be taken. Closing twice is fine; any thread."""
        self._finish(ChannelClosedError("the channel is closed: the run has ended"))

    def abort(self, cause: BaseException) -> list[T]:
        """Mark the channel as broken because the consumer died: every blocked or later ``put`` raises.

        Args:
            cause: Why the consumer died.

        Returns:
            The items that were not taken.
        """
        broken = WriterBrokenError(f"the writer died: {cause}")
        broken.__cause__ = cause
        self._finish(broken)
        with self._lock:
            return self._take()

    def _finish(self, end: Exception) -> None:
        with self._lock:
            if not isinstance(self._end, WriterBrokenError):
                self._end = end
            self._room.notify_all()
            self._settled.notify_all()
            self._wake()

    def _ended(self) -> Exception:
        """Return a new exception for each caller: a shared instance would accumulate all their tracebacks."""
        end = self._end
        assert end is not None
        fresh = type(end)(*end.args)
        fresh.__cause__ = end.__cause__
        return fresh


_known: weakref.WeakSet[Channel[Any]] = weakref.WeakSet()


def _orphan_all() -> None:
    for channel in list(_known):
        channel._orphan()  # noqa: SLF001 - of the class above, and only called here


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
