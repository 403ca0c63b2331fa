"""The queue between workers and the writer: bounded, FIFO, closable, taken in bulk.

``Channel`` has the methods of ``queue.Queue`` that producers use. It adds an end: *closed* (its owner ended
the conversation) and *broken* (the consumer died; everybody who is blocked wakes with ``WriterBrokenError``).
What must not get lost behind the end (a question somebody waits for) goes in under the lock that guards it.
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
"""Measured: 256 carries 40 % less, 8,192 carries no more and adds 20 ms of latency under a flood."""


class _Heavy(Generic[T]):
    """An item that weighs more than one."""

    __slots__ = ("item", "weight")

    def __init__(self, item: T, weight: int) -> None:
        self.item = item
        self.weight = weight


class Channel(Generic[T]):
    """A bounded queue with one consumer, which takes everything that waits under one lock.

    Any thread may put. An item may weigh more than one, if it is large: the sum of weights is what is bounded. One
    item, however heavy, goes in as soon as the channel is not full, since what waits for an empty one may wait for
    the whole run. The consumer takes half the capacity at once, or one item that is heavier.

    Args:
        maxsize: The capacity in weights, at least 1.

    Attributes:
        maxsize: The capacity in weights.
        taken: What the items that were taken last weigh, beyond 1 each.
    """

    def __init__(self, maxsize: int = CAPACITY) -> None:
        if maxsize < 1:
            raise ValueError(f"maxsize must be at least 1, not {maxsize}")
        self.maxsize = maxsize
        self._make_locks()
        _known.add(self)
        self._items: deque[T | _Heavy[T]] = deque()
        # What waiting items weigh beyond 1 each, and those that were taken last; how many are not dealt with.
        self._extra = 0
        self.taken = 0
        self._in_hand = 0
        self._end: Exception | None = None
        # The consumer sleeps on this lock and a producer releases it: unlike a Condition it is allocated once,
        # and the woken consumer does not contend with the producer that still holds the channel's lock.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._sleeping = False

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)

    def _orphan(self) -> None:
        """End the copy of a forked child: nobody takes from it, and the forking thread alone has survived."""
        self._make_locks()  # another thread may have held them
        self._sleeping = False
        self._end = WriterBrokenError("a forked child cannot speak to the writer: only the run's own process can")

    def put(self, item: T, block: bool = True, timeout: float | None = None, *, weight: int = 1) -> None:
        """Append an item; any thread. Blocks while the channel is full, unless told otherwise.

        Progress alone wakes nobody until the channel is a quarter full: the writer looks for it ten times a second,
        and at once when something else comes.

        With room to spare and nobody to wake this takes no lock, a third of the time: appending to a deque is
        atomic. Threads that put at the same instant may then exceed the bound by one item each, and an item put at
        the very instant of the writer's death is lost with it, as those before it are.

        Args:
            item: What to say.
            block: Wait for room.
            timeout: How long to wait at most; ``None`` is for ever.
            weight: How much of the capacity it takes, at least 1: in a run, its slots (see ``data/weights``).

        Raises:
            queue.Full: No room, and not allowed to wait, or waited long enough.
            ChannelClosedError: The channel was closed.
            WriterBrokenError: The consumer died, also while waiting here.
        """
        if weight == 1 and self._end is None and len(self._items) + self._extra < self.maxsize:
            self._items.append(item)
            if self._sleeping and (type(item) is not MsgTaskProgress or len(self._items) > self.maxsize // 4):
                with self._lock:
                    self._wake()
        else:
            self.put_surely(item, block, timeout, weight=weight)

    def put_surely(self, item: T, block: bool = True, timeout: float | None = None, *, weight: int = 1) -> None:
        """Append an item under the lock: it either raises, or whoever ends the channel finds the item.

        It is a little slower than ``put``, which may lose an item that is put just as the consumer dies.

        Args:
            item: Anything.
            block: Wait while there is no room.
            timeout: How long to wait at most, in seconds.
            weight: How many items it counts as.

        Raises:
            queue.Full: There was no room in time.
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
        """Append an item, or raise ``queue.Full`` at once; any thread."""
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
        """Take what waits, in order; the consumer's thread. Blocks while there is nothing.

        That is everything, unless it is heavy: then as much as half the capacity, so that producers fill the rest
        meanwhile. ``taken`` says what it weighs beyond 1 each.

        Args:
            timeout: How long to wait for a first item; ``None`` is for ever, 0 not at all.
            at_most: The largest n.

        Returns:
            n items; 0 when the time is up or the channel has ended and is empty.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            with self._lock:
                self._sleeping = True  # before looking: a producer appends first and looks at this second
                left = None if deadline is None else deadline - monotonic()
                if self._items or self._end is not None or (left is not None and left <= 0):
                    self._sleeping = False
                    return self._take(at_most, self.maxsize // 2)
            self._bell.acquire(timeout=-1 if left is None else left)
            with self._lock:
                if not self._sleeping:
                    # Rung. When the wait timed out just before, the bell is still released: take it back.
                    self._bell.acquire(blocking=False)
                self._sleeping = False

    def _take(self, at_most: int | None = None, weight: float = inf) -> list[T]:
        # Replacing the deque would lose what a producer appends to the old one at this instant.
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
            block: Wait until there is an item.
            timeout: How long to wait at most, in seconds.

        Raises:
            queue.Empty: Nothing came in time, or the channel has ended and is empty.
        """
        items = self.take(timeout if block else 0, at_most=1)
        if not items:
            raise queue.Empty
        return items[0]

    def get_nowait(self) -> T:
        """Take one item or raise ``queue.Empty`` at once; the consumer's thread."""
        return self.get(block=False)

    def task_done(self, count: int = 1) -> None:
        """Say that ``count`` taken items are dealt with; ``join`` returns once all are."""
        with self._lock:
            if count > self._in_hand:
                raise ValueError("task_done() called more often than items were taken")
            self._in_hand -= count
            if not self._in_hand:
                self._settled.notify_all()

    def join(self) -> None:
        """Block until every item put so far is dealt with, or the channel broke; any thread."""
        with self._lock:
            while (self._items or self._in_hand) and not isinstance(self._end, WriterBrokenError):
                self._settled.wait()

    def qsize(self) -> int:
        """Return the weight of what waits."""
        return len(self._items) + self._extra

    def empty(self) -> bool:
        """Say whether nothing waits."""
        return not self._items

    def full(self) -> bool:
        """Say whether a put of weight 1 would block."""
        return self.qsize() >= self.maxsize

    @property
    def end(self) -> Exception | None:
        """Why nothing more can be put; ``None`` while the channel is open."""
        return self._end

    def close(self) -> None:
        """Refuse every later put; what waits can still be taken. Closing twice is fine; any thread."""
        self._finish(ChannelClosedError("the channel is closed: the run is over"))

    def abort(self, cause: BaseException) -> list[T]:
        """Declare the consumer dead: everybody blocked wakes, every later put raises.

        Args:
            cause: Why it died.

        Returns:
            The items that nobody will take.
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
        """Return a new exception per caller: one shared instance would collect everybody's traceback."""
        end = self._end
        assert end is not None
        fresh = type(end)(*end.args)
        fresh.__cause__ = end.__cause__
        return fresh


_known: weakref.WeakSet[Channel[Any]] = weakref.WeakSet()


def _orphan_all() -> None:
    for channel in list(_known):
        channel._orphan()  # noqa: SLF001 - of the class above, and for nobody else to call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_orphan_all)
