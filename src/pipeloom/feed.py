"""The run's inputs: pulled lazily, in chunks, by whichever worker finds nothing ready.

No list and no future per task: at most a few hundred inputs are ahead of the workers, and their number adapts
to how fast they are used up, so a slow or a heavy input is not read ahead. The iterator is advanced in worker
threads, one at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Final

from pipeloom.attempt import Attempt
from pipeloom.errors import DuplicateKeyError, LedgerError
from pipeloom.keys import key_of
from pipeloom.ledger import Admission, taken
from pipeloom.text import clean, describe, shorten, storable
from pipeloom.writer import Request

__all__ = ["Feed"]

_LARGEST: Final = 512
_PULL_S: Final = 0.005  # a chunk is cut short rather than make its first input wait
_QUICK_S: Final = 0.05
_SLOW_S: Final = 0.5
_NAME_LIMIT: Final = 200

Identity = str | int | None
Chunk = list[tuple[Any, Identity, str]]


class Feed:
    """Hands out attempts until the inputs end, or the run closes it.

    Args:
        items: The inputs; may be endless.
        keyed: Tasks are known by key, rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
        admit: Asks the ledger about n keys or numbers; the answer is n admissions.
        workers: Number of workers, the size of the first chunk.
    """

    def __init__(
        self,
        items: Iterable[Any],
        *,
        keyed: bool,
        key: Callable[[Any], Any] | None,
        admit: Callable[[list[Any]], Request],
        workers: int,
    ) -> None:
        self._items: Iterator[Any] = iter(items)
        self._keyed = keyed
        self._key = key
        self._admit = admit
        self._lock = threading.Lock()
        self._ready: deque[Attempt] = deque()
        self._asked: tuple[Chunk, Request] | None = None
        self._size = self._smallest = workers
        self._refilled_at = 0.0
        self._exhausted = False
        self._closed = False
        self.error: BaseException | None = None
        # Per worker: it waits in here, and will not begin a task once the feed is closed.
        self.waiting = [False] * workers

    def close(self) -> None:
        """Admit nothing more; whoever waits in ``next`` will get nothing. Closing twice is fine."""
        self._closed = True

    @property
    def closed(self) -> bool:
        """Whether nothing more is admitted."""
        return self._closed

    def next(self, place: int) -> Attempt | None:
        """Return the next attempt, or ``None`` at the end; worker threads. Blocks while inputs are awaited.

        An attempt may come finished: refused at the door, it is only to be passed on to the writer.
        """
        self.waiting[place] = True
        try:
            while True:
                if self._ready and not self._closed:
                    try:
                        return self._ready.popleft()
                    except IndexError:  # another worker was faster
                        continue
                with self._lock:
                    if self._closed or (not self._ready and not self._refill()):
                        return None
        finally:
            # The engine closes, then looks at waiting: a worker it sees here finds the feed closed afterwards.
            self.waiting[place] = False

    def _refill(self) -> bool:
        """Get admissions for a chunk, and ask for the next one when they are used up fast; holds the lock."""
        while not self._ready:
            if self._asked is None:
                self._asked = self._ask()
            if self._asked is None:
                return False
            (chunk, request), self._asked = self._asked, None
            self._adapt()
            if self._size >= _LARGEST:
                self._asked = self._ask()
            self._ready.extend(self._admitted(chunk, request.result()))
        return True

    def _adapt(self) -> None:
        now = monotonic()
        since, self._refilled_at = now - self._refilled_at, now
        if since < _QUICK_S:
            self._size = min(self._size * 2, _LARGEST)
        elif since > _SLOW_S:
            self._size = max(self._size // 2, self._smallest)

    def _ask(self) -> tuple[Chunk, Request] | None:
        chunk = self._pull()
        if not chunk:
            return None
        return chunk, self._admit([identity for _, identity, _ in chunk])

    def _pull(self) -> Chunk:
        chunk: Chunk = []
        enough = monotonic() + _PULL_S
        try:
            while not self._exhausted and not self._closed and len(chunk) < self._size:
                try:
                    item = next(self._items)
                except StopIteration:
                    self._exhausted = True
                    break
                chunk.append((item, self._identity(item), _name_of(item)))
                if monotonic() > enough:
                    break
        except BaseException as error:  # raised by the caller's iterator or key=: it ends the run, not a worker
            self.error = error
            self._exhausted = True
        return chunk

    def _identity(self, item: Any) -> Identity:
        if self._keyed:
            return key_of(item if self._key is None else self._key(item))
        number = getattr(item, "task_id", None)
        return number if type(number) is int and abs(number) < 1 << 63 else None

    def _admitted(self, chunk: Chunk, admissions: list[Admission]) -> Iterator[Attempt]:
        for (item, identity, name), (number, verdict) in zip(chunk, admissions, strict=True):
            key = identity if self._keyed else None
            if verdict == "new":
                yield Attempt(item, number, key, name, "new")
            elif verdict == "again":
                yield Attempt(item, number, key, name, "old")
            elif verdict == "duplicate":
                shown = clean(identity, 80)
                reason = f"the key {shown!r} came twice in this run: make keys unique, or pass key="
                yield _refused(Attempt(item, 0, key, name, "none"), DuplicateKeyError(reason, key=key))
            elif verdict == "taken":
                yield _refused(Attempt(item, number, key, name, "none"), LedgerError(taken(number)))


def _refused(attempt: Attempt, error: LedgerError) -> Attempt:
    attempt.fail(error, str(error), f"{type(error).__name__}: {error}")
    return attempt


def _name_of(item: Any) -> str:
    if type(item) is int:
        return str(item)
    name = None
    if type(item) is not str:
        try:
            name = item.name
        except Exception:  # foreign attribute: absent, or a property that fails
            name = None
    if not isinstance(name, str):
        name = describe(item, _NAME_LIMIT)
    return storable(shorten(name, _NAME_LIMIT))
