"""The pipe between a run and a worker process: messages of any length, in order; no lock is shared.

A message has a body, and may have attachments: large pieces of bytes, and file descriptors. On each side one thread
receives, and any thread may send.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import threading
from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from pipeloom.data.image import Buffer

__all__ = ["Message", "Pipe"]

# The number of descriptors and of attachments, and the length of the body; the lengths of the attachments follow.
_HEAD: Final = Struct("<IIQ")
_LENGTH: Final = 8
_AT_ONCE: Final = 2**18  # bytes read by one call
_LONGEST: Final = 2**40  # anything that claims to be longer was not written by us
_MOST: Final = 16  # descriptors of one message
_PARTS: Final = 10_000  # attachments of one message


class Message(NamedTuple):
    """A message that was received; the receiver closes it."""

    body: Buffer
    attached: Sequence[Buffer] = ()
    descriptors: Sequence[int] = ()

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class Pipe:
    """One end of the pipe.

    Args:
        end: A connected stream socket; this object becomes its owner.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._came = bytearray()
        self._large: mmap.mmap | None = None  # a large message that is being received in place
        self._filled = 0
        self._descriptors: deque[int] = deque()

    def send(self, body: bytes, attached: Sequence[Buffer] = (), descriptors: Sequence[int] = ()) -> None:
        """Send a message; blocks while the other side does not read. Any thread.

        Raises:
            OSError: The other side has gone.
        """
        head = _HEAD.pack(len(descriptors), len(attached), len(body))
        head += b"".join(len(data).to_bytes(_LENGTH, "little") for data in attached)
        with self._sending:
            if descriptors:
                socket.send_fds(self._socket, [head], descriptors)
                self._socket.sendall(body)
            else:
                self._socket.sendall(head + body)
            for data in attached:
                self._socket.sendall(data)

    def has_room(self, timeout_s: float = 0) -> bool:
        """Wait until a short message can be sent without blocking; return false after the timeout. Any thread."""
        return bool(select.select((), (self._socket,), (), timeout_s)[1])

    def receive(self, timeout_s: float) -> list[Message]:
        """Return the n messages that have arrived; 0 after the timeout. One thread.

        Raises:
            EOFError: The other side has gone.
            ValueError: The data was not written by :meth:`send`.
        """
        if not self._poll.poll(timeout_s * 1000):
            return []
        try:
            return self._received()
        except OSError as error:
            raise EOFError from error

    def _received(self) -> list[Message]:
        if self._large is not None:  # not beyond its end: the next message may have descriptors
            count = self._socket.recv_into(memoryview(self._large)[self._filled :])
            if not count:
                raise EOFError
            self._filled += count
            if self._filled < len(self._large):
                return []
            whole, self._large = self._large, None
            return [self._message(whole, 0)[0]]
        data, descriptors, _, _ = socket.recv_fds(self._socket, _AT_ONCE, _MOST)
        if not data:
            raise EOFError
        self._descriptors.extend(descriptors)
        self._came += data
        return self._complete()

    def _complete(self) -> list[Message]:
        """Take the complete messages; allocate memory for the rest of one that is large."""
        found = []
        came, begin = self._came, 0
        while (size := _size_of(came, begin)) is not None and begin + size <= len(came):
            message, begin = self._message(came, begin)
            found.append(message)
        if size is not None and size > _AT_ONCE:
            self._large = _room_for(size)
            self._filled = len(came) - begin
            self._large[: self._filled] = came[begin:]
            begin = len(came)
        if begin:
            del came[:begin]
        return found

    def _message(self, data: bytearray | mmap.mmap, begin: int) -> tuple[Message, int]:
        """Return the message that starts at ``begin``, and where it ends; a large one is not copied."""
        descriptors, count, length = _HEAD.unpack_from(data, begin)
        at = begin + _HEAD.size
        lengths = [length, *_lengths(data, at, count)]
        at += count * _LENGTH
        parts: list[Buffer] = []
        view = memoryview(data) if data is not self._came else None
        for size in lengths:
            parts.append(bytes(data[at : at + size]) if view is None else view[at : at + size])
            at += size
        if descriptors > len(self._descriptors):
            raise ValueError("a message without its file descriptors")
        mine = [self._descriptors.popleft() for _ in range(descriptors)]
        return Message(parts[0], parts[1:], mine), at

    def close(self) -> None:
        """Close this end, and descriptors that were not taken; the receiving thread. Closing twice is fine."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())


def _lengths(data: bytearray | mmap.mmap, begin: int, count: int) -> list[int]:
    ends = range(begin, begin + count * _LENGTH, _LENGTH)
    return [int.from_bytes(data[at : at + _LENGTH], "little") for at in ends]


def _room_for(size: int) -> mmap.mmap:
    """Return memory that is only allocated when it is filled, since the announced size may be wrong.

    Raises:
        ValueError: There is not enough memory.
    """
    try:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError) as error:
        raise ValueError("a message that does not fit in memory") from error


def _size_of(data: bytearray, begin: int) -> int | None:
    """Return the length of the message that starts at ``begin``; ``None`` if its head has not arrived."""
    if len(data) - begin < _HEAD.size:
        return None
    descriptors, count, length = _HEAD.unpack_from(data, begin)
    if count > _PARTS or descriptors > _MOST:
        raise ValueError("a message with too many attachments")
    at = begin + _HEAD.size
    if len(data) - at < count * _LENGTH:
        return None
    size: int = _HEAD.size + count * _LENGTH + length + sum(_lengths(data, at, count))
    if size > _LONGEST:
        raise ValueError("a message of more than a terabyte")
    return size
