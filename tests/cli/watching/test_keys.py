"""What a terminal sends, as names of keys."""

from __future__ import annotations

import pytest

from pipeloom.cli.watching.keys import KeyReader


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"qj", ["q", "j"]),
        (b"\x1b[A\x1bOB\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1b[F", ["pageup", "pagedown", "home", "end"]),
        (b"\r\t\x1b[Z", ["enter", "tab", "backtab"]),
        (b"\x1b[1;5A\x1b[200~\x1b[15~", ["up"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\xff\x00\x03", ["\ufffd"]),
        ("é".encode(), ["é"]),
    ],
)
def test_bytes_become_keys(data, keys):
    """As terminals send them, in one piece or byte by byte; what is unknown is left out."""
    assert KeyReader().feed(data) == keys
    if data.isascii():
        reader = KeyReader()
        assert [key for byte in data for key in reader.feed(bytes([byte]))] == keys


def test_an_escape_alone_is_a_key_once_nothing_follows():
    """The start of a sequence that never ends is noise."""
    reader = KeyReader()
    assert reader.feed(b"\x1b") == []
    assert reader.waiting
    assert reader.flush() == ["escape"]
    assert not reader.waiting
    assert reader.feed(b"\x1b[") == []
    assert reader.flush() == []
