"""Messages of any length, in their order, with descriptors beside them."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import threading

import pytest

from pipeloom.executors.processes.pipe import Pipe


@pytest.fixture
def ends():
    """Both ends."""
    pair = [Pipe(end) for end in socket.socketpair()]
    yield pair
    for pipe in pair:
        pipe.close()


def received(pipe, count):
    """So many messages."""
    found = []
    while len(found) < count:
        found += pipe.receive(10)
    return found


def test_messages_of_any_length_arrive_whole_and_in_order(ends):
    one, other = ends
    messages = [b"", b"x", bytes(5_000_000), b"end"]
    sender = threading.Thread(target=lambda: [one.send(message) for message in messages])
    sender.start()

    assert [message.body for message in received(other, 4)] == messages
    sender.join()


def test_nothing_comes_in_time(ends):
    assert ends[0].receive(0) == []


def test_a_descriptor_comes_with_its_message(ends):
    one, other = ends
    reading, writing = os.pipe()
    one.send(b"here", descriptors=[writing])
    os.close(writing)

    (message,) = received(other, 1)
    (mine,) = message.descriptors
    os.write(mine, b"hello")
    os.close(mine)

    assert os.read(reading, 100) == b"hello"
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_descriptor_whose_message_never_comes_is_closed(ends):
    """The sender was killed in the middle of it."""
    one, other = ends
    reading, writing = os.pipe()
    one._socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        one.send(b"here", [bytes(5_000_000)], [writing])
    os.close(writing)
    assert other.receive(10) == []

    other.close()

    assert os.read(reading, 100) == b""
    os.close(reading)


def test_the_end_of_the_other_side(ends):
    one, other = ends
    one.send(b"last")
    one.close()

    assert [message.body for message in other.receive(0)] == [b"last"]
    with pytest.raises(EOFError):
        other.receive(0)
    with pytest.raises(OSError, match="pipe"):
        other.send(b"to nobody")


def test_a_length_that_nobody_of_us_wrote():
    ours, theirs = socket.socketpair()
    pipe = Pipe(ours)
    theirs.sendall(b"\xff" * 16)

    with pytest.raises(ValueError, match="attachments"):
        pipe.receive(1)
    pipe.close()
    theirs.close()


@pytest.mark.parametrize("length", [2**33, 2**39])
def test_a_length_that_lies_takes_no_memory(length):
    """It may be refused; nothing is filled before it has come."""
    ours, theirs = socket.socketpair()
    pipe = Pipe(ours)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    theirs.sendall(struct.pack("<IIQ", 0, 0, length) + b"some of it")

    with contextlib.suppress(ValueError):
        assert pipe.receive(1) == []
        theirs.sendall(b"and more")
        assert pipe.receive(1) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    pipe.close()
    theirs.close()


def test_a_full_pipe_has_no_room(ends):
    one = ends[0]
    assert one.has_room()
    one._socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            one._socket.send(bytes(65536))

    assert not one.has_room()
    assert not one.has_room(0.001)


def test_what_is_attached_arrives_beside_its_message(ends):
    """Small and large, with a descriptor on a message behind a large one."""
    one, other = ends
    reading, writing = os.pipe()
    large = os.urandom(3_000_000)

    def send():
        one.send(b"first", [b"a", b"", large])
        one.send(b"second", [b"b"], [writing])
        one.send(b"third")

    sender = threading.Thread(target=send)
    sender.start()
    first, second, third = received(other, 3)
    sender.join()
    os.close(writing)

    assert bytes(first.body) == b"first"
    assert [bytes(data) for data in first.attached] == [b"a", b"", large]
    assert (second.body, [*second.attached], len(second.descriptors)) == (b"second", [b"b"], 1)
    assert third == (b"third", [], [])
    second.close()
    assert os.read(reading, 1) == b""
    os.close(reading)
