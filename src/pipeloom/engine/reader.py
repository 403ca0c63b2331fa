"""Reads the inputs ahead of the workers, in its own thread.

::

    iterator ──reading thread──▶ pulled ──take──▶ the intake, which has them admitted

At most about a thousand inputs are ahead of the workers, and fewer if they are used up slowly or take more than
16 MiB of memory. Only this thread ever waits for the iterator.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from pipeloom.data.text import describe, kind_of
from pipeloom.data.versions import StoredVersion
from pipeloom.data.weights import slots_for, weigh
from pipeloom.engine.identity import Identity, Unidentified, VersionTeller, name_of
from pipeloom.engine.inputs import close_generators
from pipeloom.worker.current import CallerContext

__all__ = ["Pulled", "Reader"]

logger = logging.getLogger("pipeloom")

_TICK_S: Final = 0.1
_STUCK_S: Final = 1.0
_CLOSING_S: Final = 10.0
_LARGEST: Final = 512
_QUICK_S: Final = 0.05
_SLOW_S: Final = 0.5
_AHEAD: Final = 4096  # slots

Pulled = tuple[object, Identity, str | Unidentified | None, str, int, StoredVersion | None]
"""An input, its identity, what else is stored with that (or why it has none), its name, its slots, its version."""


class Reader:
    """Reads inputs until they end, or it is closed.

    Args:
        items: The inputs; may be infinite.
        identify: Identifies inputs; see :func:`~pipeloom.engine.identity.identifier`.
        version_of: Determines an input's version; see :func:`~pipeloom.engine.identity.version_teller`.
        is_mine: Decides by its identity whether an input belongs to this run; ``None`` takes all.
        smallest: The size of the first chunk.
        moved: Guards the hand-over: "something was pulled", "there is room again"; the intake's own.

    Attributes:
        pulled: Inputs that were read and not taken yet.
        size: How many inputs to ask about at once. It grows while chunks are used up fast, and shrinks again.
        extra: How many slots the inputs ahead of the workers take beyond 1 each. Guarded by ``moved``.
        awaited_by: How many workers wait for an input. Guarded by ``moved``.
        is_exhausted: There are no more inputs to read.
        error: The exception that the iterator raised.
    """

    def __init__(
        self,
        items: Iterable[object],
        *,
        identify: Callable[[object, int, str], tuple[Identity, str | Unidentified | None]],
        version_of: VersionTeller | None = None,
        is_mine: Callable[[Identity], bool] | None,
        smallest: int,
        moved: threading.Condition,
    ) -> None:
        self._items = items
        self._identify = identify
        self._version_of = version_of
        self._is_mine = is_mine
        self._moved = moved
        self.pulled: deque[Pulled] = deque()
        self.size = self.smallest = smallest
        self.extra = 0
        self.awaited_by = 0
        self.is_exhausted = False
        self.error: BaseException | None = None
        self._taken_at = 0.0
        self._waits = False
        self._is_closed = False
        self._is_closing = False
        # A daemon: an input that never comes must not keep the interpreter from exiting.
        self._thread = threading.Thread(
            target=lambda: self._context.run(self._read), name="pipeloom-intake", daemon=True
        )

    def start(self) -> None:
        """Begin to read ahead, in a copy of the calling thread's context."""
        self._context = CallerContext().copy()
        self._thread.start()

    def shut(self) -> None:
        """Read nothing more. Takes no lock and wakes nobody; the caller must do that."""
        self._is_closed = True

    def join(self, look: Callable[[], object]) -> None:
        """Wait until the reading thread has released the inputs; after ``shut``, or at their end.

        A generator that is left early is closed in the thread in which it ran, so that its ``finally`` finds
        what it created. The thread is abandoned if an input does not come within a second, or closing takes
        more than ten.

        Args:
            look: Called ten times a second meanwhile; raises to leave.
        """
        began = monotonic()
        while self._thread.is_alive():
            self._thread.join(_TICK_S)
            if monotonic() - began > (_CLOSING_S if self._is_closing else _STUCK_S) and self._thread.is_alive():
                what = "closing them takes too long" if self._is_closing else "the next one does not arrive"
                logger.warning("the run does not wait for its inputs; their thread will close them later: %s", what)
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
                    place += 1  # noqa: SIM113 - enumerate() would keep the item alive while waiting for the next
                    name = name_of(item)
                    identity, known = self._identify(item, place, name)
                    is_mine = self._is_mine is None or self._is_mine(identity)
                    if is_mine:
                        weight = 1 if type(item) is int else slots_for(weigh(item))
                        version = None
                        if self._version_of is not None and type(known) is not Unidentified:
                            version, known = self._version_of(item, place, name, known)
                        self.pulled.append((item, identity, known, name, weight, version))
                        if weight > 1:
                            with self._moved:
                                self.extra += weight - 1
                    del item  # the next one may take a long time
                    if is_mine and (self.awaited_by or self._is_ahead()):
                        self._hand_over()
                    if self._is_closed:
                        return
            finally:
                self._is_closing = True
                close_generators(inputs)
        except BaseException as error:  # noqa: BLE001 - the caller's iterator raised: that ends the run, not a worker
            self.error = _explained(error)
        finally:
            self.is_exhausted = True
            with self._moved:
                self._moved.notify_all()

    def _hand_over(self) -> None:
        """Wake a worker that waits; stop reading while this is far enough ahead."""
        with self._moved:
            self._moved.notify()
            self._waits = True  # before looking: a worker first empties, then reads this
            while self._is_ahead() and not self._is_closed:
                self._moved.wait()
            self._waits = False

    def _is_ahead(self) -> bool:
        """Return whether a chunk waits to be asked about, or the inputs that are ahead take too much memory."""
        return len(self.pulled) >= self.size or self.extra >= _AHEAD

    # --- worker threads ---

    def take(self) -> list[Pulled]:
        """Take a chunk of the inputs that were read, 0 or more; one thread at a time."""
        chunk = [self.pulled.popleft() for _ in range(min(len(self.pulled), self.size))]
        self._adapt()
        if self._waits:
            with self._moved:
                self._moved.notify_all()
        return chunk

    def _adapt(self) -> None:
        now = monotonic()
        since, self._taken_at = now - self._taken_at, now
        if since < _QUICK_S:
            self.size = min(self.size * 2, _LARGEST)
        elif since > _SLOW_S:
            self.size = max(self.size // 2, self.smallest)

    def comes(self, slots: int) -> None:
        """Note that another input is ahead of the workers, and takes this many slots beyond 1."""
        if slots:
            with self._moved:
                self.extra += slots

    def leaves(self, weight: int) -> None:
        """Note that an input of this many slots is no longer ahead."""
        with self._moved:
            self.extra -= weight - 1
            if self._waits:
                self._moved.notify_all()


def _explained(error: BaseException) -> BaseException:
    """Return what to raise for an error of the inputs: itself, or one that explains it."""
    if kind_of(error) == "ProgrammingError" and "thread" in describe(error):  # of sqlite3 and similar drivers
        instead = TypeError(
            "the inputs come from a database cursor that belongs to the caller's thread, but inputs are read in "
            "another thread: connect inside a generator function, pass cursor.fetchall(), or open the "
            "connection with check_same_thread=False"
        )
        instead.__cause__ = error
        return instead
    return error
