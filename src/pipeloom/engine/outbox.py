"""Sends the calling thread's messages to the writer, and ends the conversation."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from pipeloom.data.text import clean
from pipeloom.errors import DatabaseInUseError, StorageError, WriterBrokenError
from pipeloom.ledger import Attempt
from pipeloom.messages import SENTINEL
from pipeloom.writer import Channel, SQLiteWriter

__all__ = ["Outbox"]

_TICK_S: Final = 0.1
_LEAVE_S: Final = 1.0  # how long a writer gets to stop at once


class Outbox:
    """Sends attempts and closes the channel; the calling thread, which must never wait without looking.

    Args:
        channel: To the writer.
        writer: Takes from the channel.
        look: Called several times a second while this waits; raises to leave.
    """

    def __init__(self, channel: Channel[object], writer: SQLiteWriter, look: Callable[[], object]) -> None:
        self._channel = channel
        self._writer = writer
        self._look = look
        self._waiting: deque[Attempt] = deque()

    def send(self, attempts: Iterable[Attempt] = ()) -> None:
        """Put as many attempts as there is room for; the rest goes with the next call."""
        self._waiting.extend(attempts)
        try:
            while self._waiting:
                attempt = self._waiting[0]
                self._channel.put(attempt, block=False, weight=attempt.weight)
                self._waiting.popleft()
        except queue.Full:
            pass
        except WriterBrokenError:
            self._waiting.clear()  # `close` raises the cause

    def settle(self, attempts: Iterable[Attempt] = ()) -> None:
        """Put all attempts, and wait until they and everything before them are committed."""
        self._waiting.extend(attempts)
        try:
            while self._waiting:
                attempt = self._waiting.popleft()
                self._put(attempt, attempt.weight)
            self._writer.ask(lambda _: None, self._look)
        except WriterBrokenError:
            pass  # `close` raises the cause

    def _put(self, item: object, weight: int = 1) -> None:
        """Put an item, waiting for room: the writer may itself be waiting for another program."""
        while True:
            try:
                self._channel.put(item, timeout=_TICK_S, weight=weight)
                return
            except queue.Full:
                self._look()

    def close(self) -> None:
        """Send the end, wait for the last commit, and raise what went wrong; calling twice is fine."""
        writer = self._writer
        if not self._channel.end:
            try:
                self._put(SENTINEL)
            except WriterBrokenError:
                pass
            self._channel.close()
        while writer.is_alive():
            writer.join(_TICK_S)
            if writer.is_alive():
                self._look()
        failure, writer.failure = writer.failure, None
        if failure is not None:
            if isinstance(failure, StorageError | DatabaseInUseError):
                raise failure
            raise WriterBrokenError(f"the writer died: {clean(failure)}") from failure

    def leave(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """On the way out, wait for the writer, unless a third Ctrl-C or similar says to leave at once."""
        writer = self._writer
        at_once = isinstance(error, KeyboardInterrupt | SystemExit)
        try:
            if not at_once and writer.ident is not None:
                self.close()
        except KeyboardInterrupt:
            at_once = True
            raise
        finally:
            if at_once:
                self._channel.close()
                writer.abandon()
                if writer.ident is not None:
                    writer.join(_LEAVE_S)
