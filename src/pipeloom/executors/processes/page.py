"""Memory shared by a run and one worker process, in which neither waits for the other.

::

    the worker writes   which task it has started, and which has ended · the progress of that task · outcomes
    the run writes      from which task on none may start · whether tasks should end · how busy the writer is

Each word has a single writer and is eight bytes long and aligned, so a reader always sees a complete value. What a
worker has written remains if it is killed: the outcomes of the tasks before the one that killed it are not lost.

Outcomes are stored one after the other in two halves, those of one chunk of tasks in the same half; the fill level
of a half is written after its contents. The file has no name, and disappears with the last process that has it
open.
"""

from __future__ import annotations

import mmap
import os
import signal
import threading
from math import isnan, nan
from typing import Final

from pipeloom.wire import NO_PROGRESS, Progress

__all__ = ["NEVER", "WHERE", "Page", "new_file"]

WHERE: Final = signal.SIGXCPU
"""The signal at which a worker writes down where its task is, whatever it is doing; rarely used otherwise."""

NEVER: Final = 2**62
"""The limit if all tasks may start."""

_BEGUN: Final = 0
_ENDED: Final = 1
_LIMIT: Final = 2
_CANCELLING: Final = 3
_FILLED: Final = 4  # and 5: how many bytes of each half
_VERSION: Final = 6  # of the progress; odd while the progress is being written
_LENGTH: Final = 7  # of the progress message, in bytes
_WHOSE: Final = 8
_WAITING: Final = 9
_CAPACITY: Final = 10
_WORDS: Final = 16

_SINCE: Final = 16  # doubles, after the words
_STEP: Final = 17
_TOTAL: Final = 18
_UNKNOWN: Final = nan  # total

_MESSAGE: Final = 512
_LONGEST_MESSAGE: Final = 8000  # bytes: 2,000 characters
_OUTCOMES: Final = 16 * 1024
_HALF: Final = 120 * 1024
_SIZE: Final = _OUTCOMES + 2 * _HALF
_FRAME: Final = 4


def new_file() -> int:
    """Create the memory; return its file descriptor, which a worker inherits.

    Raises:
        OSError: It cannot be created.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("pipeloom-worker", os.MFD_CLOEXEC)
    else:
        import tempfile  # late, so that worker processes, which do not need it, start faster

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd


class Page:
    """The memory, as mapped by one of the two processes.

    Args:
        fd: See :func:`new_file`; the caller keeps it and closes it.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, _SIZE)
        self._use(memoryview(self._memory))
        self._writing = threading.Lock()
        self._message = ""  # the progress message that is written there
        self._version = 0

    def _use(self, view: memoryview) -> None:
        self._bytes = view
        self._words = view[: _OUTCOMES & ~7].cast("q")
        self._doubles = view[: _OUTCOMES & ~7].cast("d")

    # --- the worker's side ---

    def begin(self, serial: int, now: float) -> bool:
        """Claim a task; return false if it may not start any more."""
        words = self._words
        self._doubles[_SINCE] = now
        words[_BEGUN] = serial  # before checking: the run sets the limit first and reads this second
        return serial < words[_LIMIT]

    def end(self, serial: int) -> None:
        """Record that the outcome of a task has been written here or sent."""
        self._words[_ENDED] = serial

    def put(self, half: int, outcome: bytes) -> bool:
        """Write an outcome; return false if there is no room for it, or the memory is damaged."""
        filled = self._words[_FILLED + half]
        begin = _OUTCOMES + half * _HALF + filled
        size = _FRAME + len(outcome)
        if not 0 <= filled <= _HALF - size:
            return False
        self._bytes[begin : begin + _FRAME] = len(outcome).to_bytes(_FRAME, "little")
        self._bytes[begin + _FRAME : begin + size] = outcome
        self._words[_FILLED + half] = filled + size
        return True

    def show(self, serial: int, progress: Progress) -> None:
        """Write the progress of a task; any of its threads."""
        step, total, message = progress
        words, doubles = self._words, self._doubles
        with self._writing:
            self._version += 2
            words[_VERSION] = self._version - 1
            if message != self._message:
                text = message.encode(errors="replace")[:_LONGEST_MESSAGE]
                self._bytes[_MESSAGE : _MESSAGE + len(text)] = text
                words[_LENGTH] = len(text)
                self._message = message
            words[_WHOSE] = serial
            doubles[_STEP] = step
            doubles[_TOTAL] = _UNKNOWN if total is None else total
            words[_VERSION] = self._version

    @property
    def is_cancelling(self) -> bool:
        """Whether tasks should end."""
        return self._words[_CANCELLING] != 0

    @property
    def backlog(self) -> tuple[int, int]:
        """How much is waiting for the writer, and the capacity; up to a tenth of a second old."""
        return self._words[_WAITING], self._words[_CAPACITY]

    def orphan(self) -> None:
        """Detach the copy in a forked child from the memory: what it writes from now on is not seen."""
        self._use(memoryview(bytearray(_SIZE)))
        self._words[_LIMIT] = NEVER
        self._writing = threading.Lock()

    # --- the run's side ---

    def start_chunk(self, half: int) -> None:
        """Clear a half, whose contents have been read, before its next chunk is sent."""
        self._words[_FILLED + half] = 0

    def limit(self, serial: int) -> None:
        """Set the first task that may not start."""
        self._words[_LIMIT] = serial

    def tell(self, *, cancelling: bool, backlog: tuple[int, int]) -> None:
        """Write whether tasks should end, and how busy the writer is."""
        words = self._words
        words[_CANCELLING] = cancelling
        words[_WAITING], words[_CAPACITY] = backlog

    @property
    def begun(self) -> int:
        """The task that was started last, or claimed and not started; 0 for none."""
        return self._words[_BEGUN]

    @property
    def running(self) -> int:
        """The task that is running, or was running when the worker died; 0 for none."""
        ended, begun = self._words[_ENDED], self._words[_BEGUN]
        return begun if begun != ended else 0

    @property
    def since(self) -> float:
        """When that task started, by ``time.monotonic``."""
        return self._doubles[_SINCE]

    def outcomes(self, half: int, begin: int) -> tuple[list[bytes], int]:
        """Return the outcomes that were written since the last call.

        Args:
            half: The half to read.
            begin: Up to where it was read before.

        Returns:
            n outcomes, and up to where it has been read now.

        Raises:
            ValueError: The contents were not written by :meth:`put`.
        """
        filled = self._words[_FILLED + half]
        if not begin <= filled <= _HALF:
            raise ValueError("more outcomes than fit")
        base = _OUTCOMES + half * _HALF
        found = []
        while begin < filled:
            length = int.from_bytes(self._bytes[base + begin : base + begin + _FRAME], "little")
            end = begin + _FRAME + length
            if end > filled:
                raise ValueError("a truncated outcome")
            found.append(bytes(self._bytes[base + begin + _FRAME : base + end]))
            begin = end
        return found, begin

    def progress(self, serial: int, seen: int) -> tuple[Progress, int] | None:
        """Return the progress of a task and its version; ``None`` if there is nothing new to read.

        Args:
            serial: The task.
            seen: The version that was read last.
        """
        words, doubles = self._words, self._doubles
        version = words[_VERSION]
        if version == seen or version % 2 or words[_WHOSE] != serial:
            return None
        step, total = doubles[_STEP], doubles[_TOTAL]
        length = words[_LENGTH]
        text = bytes(self._bytes[_MESSAGE : _MESSAGE + min(max(length, 0), _LONGEST_MESSAGE)])
        if words[_VERSION] != version:
            return None
        message = text.decode(errors="replace") if text else NO_PROGRESS[2]
        return (step, None if isnan(total) else total, message), version

    def close(self) -> None:
        """Unmap the memory; closing twice is fine."""
        self._words.release()
        self._doubles.release()
        self._bytes.release()
        self._memory.close()
