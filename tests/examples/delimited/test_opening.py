"""Lines out of whatever they are packed in: all of them, or a sentence."""

from __future__ import annotations

import gzip
import io
import sys
import zipfile
from tracemalloc import get_traced_memory, start, stop

import pytest
import zstandard

from pipeloom.examples.delimited import find, opening

TEXT = "x,y\n" + "".join(f"{n},é\n" for n in range(5000))


@pytest.fixture
def lines(tmp_path):
    """Write one file, and read its lines."""

    def read(name, content, encoding="utf-8-sig"):
        (tmp_path / name).write_bytes(content)
        (source,) = find(tmp_path, tmp_path).sources
        with opening.open_lines(source, encoding) as opened:
            found = list(opened)
            assert 0 <= opened.position <= max(source.size, len(content))
            return found

    return read


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def zipped(content: bytes, method=zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO(b"what comes before an archive")
    file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file, "a", method) as archive:
        archive.writestr("sub/a.csv", content)
    return file.getvalue()


PACKED = {
    "a.csv": bytes,
    "a.csv.gz": gzip.compress,
    "two.csv.gz": lambda content: gzip.compress(content[:777]) + gzip.compress(content[777:]),
    "a.csv.zst": zst,
    "two.csv.zst": lambda content: zst(content[:777]) + zst(content[777:]),
    "a.zip": zipped,
    "stored.zip": lambda content: zipped(content, zipfile.ZIP_STORED),
    "bz2.zip": lambda content: zipped(content, zipfile.ZIP_BZIP2),
}


@pytest.mark.parametrize("name", sorted(PACKED))
def test_all_that_was_packed_comes_out(lines, name):
    """In several members and frames, too; an empty file is empty."""
    assert "".join(lines(name, PACKED[name](TEXT.encode()))) == TEXT
    assert lines(name, PACKED[name](b"")) == []


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.zip"])
def test_what_is_cut_off_or_damaged_is_told(lines, name):
    """Never a part of a file in silence."""
    content = PACKED[name](TEXT.encode())
    with pytest.raises(ValueError, match=f"{name}.*: cannot be unpacked"):
        lines(name, content[: len(content) // 2])
    broken = bytearray(content)
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(ValueError, match=f"{name}.*: (cannot be unpacked|line)"):
        lines(name, bytes(broken))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.zip"])
def test_what_unpacks_without_end_is_refused(lines, name, monkeypatch):
    """By its ratio, past a size that is not worth asking about."""
    monkeypatch.setattr(opening, "_MUCH", 1 << 20)
    with pytest.raises(ValueError, match="unpacks to more than 200 times its size"):
        lines(name, PACKED[name](b"0000000\n" * (1 << 20)))


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst"])
def test_a_line_that_never_ends_is_refused_in_flat_memory(lines, name, monkeypatch):
    """No more than a line is ever held."""
    monkeypatch.setattr(opening, "_LONGEST_LINE", 1 << 16)
    content = PACKED[name](b"x\n" + b"0" * (64 << 20))
    start()
    try:
        with pytest.raises(ValueError, match="line 2: has more than"):
            lines(name, content)
        assert get_traced_memory()[1] < 40 << 20
    finally:
        stop()


def test_without_its_library_zstandard_is_a_sentence(lines, monkeypatch):
    """It names what to install."""
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(
        ValueError, match=r"a\.csv\.zst: is compressed with Zstandard: install the package zstandard"
    ):
        lines("a.csv.zst", b"x")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_taken_at_its_word(lines, encoding):
    """Whatever was asked for; the mark is no part of the text."""
    assert "".join(lines("a.csv", TEXT.encode(encoding), "latin-1")) == TEXT


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize(("encoding", "bad"), [("utf-8", b"\xff"), ("utf-16-le", b"\x00\xd8x\x00")])
@pytest.mark.parametrize("line", [1, 2, 20_000])
def test_a_byte_that_cannot_be_decoded_is_told_with_its_line(lines, end, encoding, bad, line):
    """Although the decoder reads ahead, and whatever ends a line."""
    content = f"xé{end}".encode(encoding) * (line - 1) + bad + f"y{end}z{end}".encode(encoding) * 9
    with pytest.raises(ValueError, match=rf"^a\.csv, line {line}: not {encoding} \("):
        lines("a.csv", content, encoding)


def test_nothing_else_ends_a_line(lines):
    """Not what Unicode calls one; lone CR, LF and CRLF do, mixed."""
    assert lines("a.csv", "a\u2028b\x85c\x0bd\re\nf\r\ng\0".encode()) == [
        "a\u2028b\x85c\x0bd\r",
        "e\n",
        "f\r\n",
        "g\0",
    ]
