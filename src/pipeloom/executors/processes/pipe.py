"""The one pipe between a run and a worker process: messages of any length, in their order; no lock is shared.

A message is eight bytes that say its length, and the message. Descriptors may travel beside one. Each side has one
thread that receives; any thread may send.
"""

from __future__ import annotations

import select
import socket
import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

__all__ = ["Pipe"]

_HEAD: Final = 8
_AT_ONCE: Final = 2**20  # bytes that are read with one call
_LONGEST: Final = 2**40  # what says that it is longer was not written by us
_FDS: Final = 4


class Pipe:
    """One end.

    Args:
        end: A connected stream socket, which this owns from now on.

    Attributes:
        descriptors: Those that have come, in their order: whoever reads the message takes its own from here.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._came = bytearray()
        self.descriptors: deque[int] = deque()

    def send(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a message; blocks while the other side does not read. Any thread.

        Raises:
            OSError: Nobody is there to read it.
        """
        head = len(message).to_bytes(_HEAD, "little")
        with self._sending:
            if descriptors:
                socket.send_fds(self._socket, [head], descriptors)
                self._socket.sendall(message)
            elif len(message) < _AT_ONCE:
                self._socket.sendall(head + message)
            else:  # not copied
                self._socket.sendall(head)
                self._socket.sendall(message)

    def has_room(self, timeout_s: float = 0) -> bool:
        """Wait until a short message can be sent without waiting; false when it cannot in time. Any thread."""
        return bool(select.select((), (self._socket,), (), timeout_s)[1])

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return the messages that have come, n of them; 0 when none came in time. One thread.

        Raises:
            EOFError: The other side has gone.
            ValueError: What came was not written by :meth:`send`.
        """
        if not self._poll.poll(timeout_s * 1000):
            return []
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, _AT_ONCE, _FDS)
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self.descriptors.extend(descriptors)
        self._came += data
        return self._complete()

    def _complete(self) -> list[bytes]:
        found = []
        begin, came = 0, self._came
        while len(came) - begin >= _HEAD:
            length = int.from_bytes(came[begin : begin + _HEAD], "little")
            if length > _LONGEST:
                raise ValueError("a message of more than a terabyte")
            end = begin + _HEAD + length
            if len(came) < end:
                break
            found.append(bytes(came[begin + _HEAD : end]))
            begin = end
        if begin:
            del came[:begin]
        return found

    def close(self) -> None:
        """Close this end, and descriptors that nobody took; the thread that receives. Closing twice is fine."""
        self._socket.close()
        while self.descriptors:
            socket.close(self.descriptors.popleft())
