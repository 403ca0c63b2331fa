"""A terminal with a descriptor of its own."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
import termios

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


def test_it_takes_what_it_takes_and_never_blocks(terminals):
    """The descriptor that others use goes on blocking: it is another one."""
    ours, stream = terminals[0]
    terminal = Terminal(stream)
    try:
        sent = 0
        while count := terminal.send(b"x" * 4096):
            sent += count
        assert terminal.send(b"more") == 0
        assert terminal.never_blocks
        assert os.get_blocking(stream.fileno())
        while sent > 0:
            sent -= len(os.read(ours, 65536))
        assert terminal.send(b"more") == 4
    finally:
        terminal.close()
        terminal.close()


def test_where_it_cannot_be_opened_anew_it_is_asked_first(terminals, monkeypatch):
    """As when the terminal is another user's: small pieces, as long as it is ready."""
    _, stream = terminals[0]

    def refuse(*_):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        terminal = Terminal(stream)
    try:
        assert not terminal.never_blocks
        assert 0 < terminal.send(b"x" * 4096) <= 256
        termios.tcflow(stream.fileno(), termios.TCOOFF)
        assert terminal.send(b"x") == 0
        termios.tcflow(stream.fileno(), termios.TCOON)
        assert terminal.send(b"x") == 1
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
