"""The source of the writer's messages: our own channel, or a queue that the user passed."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, Final, Protocol

from pipeloom.messages import SENTINEL
from pipeloom.writer.channel import Channel

__all__ = ["Source", "source_of"]

_BULK: Final = 8192


class Source(Protocol):
    """The writer's view of a queue; the writer's thread, unless stated otherwise."""

    @property
    def outlives_the_writer(self) -> bool:
        """Whether producers can continue to put after the writer has died, and would block on a full queue."""

    @property
    def taken(self) -> int:
        """The weight of the items taken last, beyond 1 each, in memory slots, as far as known."""

    def put(self, item: object) -> None:
        """Append a request that will be answered, or raise; any thread."""

    def take(self, timeout: float) -> list[object]:
        """Take the waiting items, in order; blocks while there are none.

        Args:
            timeout: How long to wait for a first item, in seconds; 0 does not wait.

        Returns:
            n items; 0 after the timeout.
        """

    def qsize(self) -> int:
        """Return how many items are waiting, or slightly more."""

    def settle(self, count: int) -> None:
        """Report that ``count`` taken items have been processed, so that ``join`` can return."""

    def give_back(self, items: Sequence[object]) -> int:
        """Put back what was taken after ``SENTINEL``, which is not for the writer.

        Returns:
            How many items were given back.
        """

    def abort(self, cause: BaseException) -> list[object]:
        """Wake every waiting producer, since the writer is dead.

        Returns:
            The items that were not taken.
        """


def source_of(msg_q: queue.Queue[Any] | Channel[Any]) -> Source:
    """Return a source for the queue that the user passed."""
    if isinstance(msg_q, Channel):
        return _ChannelSource(msg_q)
    return _QueueSource(msg_q) if type(msg_q) is queue.Queue else _ForeignSource(msg_q)


class _ChannelSource:
    """Our own channel: it ends when the writer does."""

    outlives_the_writer = False

    def __init__(self, channel: Channel[Any]) -> None:
        self._channel = channel
        self.put = channel.put_surely
        self.take = channel.take
        self.qsize = channel.qsize
        self.settle = channel.task_done
        self.abort = channel.abort

    @property
    def taken(self) -> int:
        return self._channel.taken

    def give_back(self, items: Sequence[object]) -> int:  # noqa: ARG002 - it has no other consumer
        return 0


class _ForeignSource:
    """A subclass of ``queue.Queue``: it may override ``get``, so items are taken one by one, up to ``SENTINEL``."""

    outlives_the_writer = True
    taken = 0

    def __init__(self, msg_q: queue.Queue[Any]) -> None:
        self._queue = msg_q
        self.put = msg_q.put
        self.qsize = msg_q.qsize

    def take(self, timeout: float) -> list[object]:
        try:
            items = [self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()]
        except queue.Empty:
            return []
        self._take_more(items)
        return items

    def _take_more(self, items: list[object]) -> None:
        try:
            while len(items) < _BULK and items[-1] is not SENTINEL:
                items.append(self._queue.get_nowait())
        except queue.Empty:
            pass

    def settle(self, count: int) -> None:
        for _ in range(count):
            self._queue.task_done()

    def give_back(self, items: Sequence[object]) -> int:  # noqa: ARG002 - none was taken
        return 0

    def abort(self, cause: BaseException) -> list[object]:  # noqa: ARG002 - producers can continue, see above
        return []


class _QueueSource(_ForeignSource):
    """A plain ``queue.Queue``, emptied under its own lock, as ``get`` does for one item."""

    def _take_more(self, items: list[object]) -> None:
        with self._queue.mutex:
            waiting = self._queue.queue
            if len(waiting) < _BULK:
                items.extend(waiting)
                waiting.clear()
            else:
                items.extend(waiting.popleft() for _ in range(_BULK - 1))
            self._queue.not_full.notify_all()

    def give_back(self, items: Sequence[object]) -> int:
        if items:
            with self._queue.mutex:
                self._queue.queue.extendleft(reversed(items))
                self._queue.not_empty.notify()
        return len(items)
