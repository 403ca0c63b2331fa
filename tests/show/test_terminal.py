"""A terminal, and which streams lead to it."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios
import threading

import pytest

from pipeloom.show.catching import streams_on
from pipeloom.show.terminal import Terminal


@pytest.fixture
def terminals():
    """Two pseudo-terminals: for each, our descriptor and a text stream on theirs."""
    pairs = []
    for _ in range(2):
        ours, theirs = os.openpty()
        pairs.append((ours, os.fdopen(theirs, "w", encoding="utf-8")))
    yield pairs
    for ours, theirs in pairs:
        theirs.close()
        os.close(ours)


def test_it_says_whether_it_takes_anything(terminals):
    """Not when nobody has read it for long, and not after Ctrl-S."""
    ours, stream = terminals[0]
    terminal = Terminal(stream)
    try:
        assert terminal.is_ready()
        os.write(ours, b"\x13")
        assert not terminal.is_ready()
        os.write(ours, b"\x11")
        assert terminal.is_ready()
        os.set_blocking(stream.fileno(), False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(stream.fileno(), b"x" * 4096)
        assert not terminal.is_ready()
    finally:
        terminal.close()
        terminal.close()


def test_it_is_sent_everything_even_if_it_was_told_not_to_block(terminals):
    """As somebody else may do, who has the same terminal."""
    ours, stream = terminals[0]
    os.set_blocking(stream.fileno(), False)
    terminal = Terminal(stream)
    received: list[int] = []

    def read():
        while sum(received) < 200_000:
            received.append(len(os.read(ours, 65536)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        terminal.send(b"x" * 200_000)
        reader.join(20)
        assert sum(received) == 200_000
    finally:
        terminal.close()


def test_its_size_is_what_it_is_now(terminals):
    """A terminal that knows none says so."""
    ours, stream = terminals[0]
    terminal = Terminal(stream)
    try:
        assert terminal.size() is None
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        assert terminal.size() == (80, 24)
    finally:
        terminal.close()


def test_what_is_no_terminal(tmp_path):
    """A file, and a stream that is closed."""
    with open(tmp_path / "file", "w") as file:
        assert Terminal.of(file) is None
    assert Terminal.of(file) is None


def test_only_streams_on_the_same_terminal_are_caught(terminals, monkeypatch):
    """Standard output may be another terminal, or a file; one object is caught once."""
    one, other = (stream for _, stream in terminals)
    for name, stream in {"stderr": one, "__stderr__": one, "stdout": other, "__stdout__": None}.items():
        monkeypatch.setattr(sys, name, stream)

    assert list(streams_on(one)) == [one]
    assert list(streams_on(other)) == [other]
