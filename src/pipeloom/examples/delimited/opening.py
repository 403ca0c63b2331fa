"""Read a file's lines of text, with any compression and encoding; never more than a line is in memory."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import IO, Any, Final

from pipeloom.examples.delimited.finding import Source

__all__ = ["Lines", "open_lines"]

_LONGEST_LINE: Final = 32 << 20  # characters; without a limit, a line that never ends would fill the memory
_BLOCK: Final = 1 << 16  # bytes
# A packed file may unpack to anything: beyond this size, no more than this many times its own size is read.
_MUCH: Final = 1 << 30  # bytes
_RATIO: Final = 200
# A byte order mark is always believed. UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_DAMAGED: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


class Lines:
    """The lines of a file, with their ends; iterate once, in one thread.

    Attributes:
        encoding: How the file is decoded: according to its byte order mark, else as requested.
    """

    def __init__(
        self,
        source: Source,
        text: io.TextIOWrapper,
        position: Callable[[], int],
        bad_line: Callable[[], ValueError],
    ) -> None:
        self.encoding = text.encoding
        self._source = source
        self._text = text
        self._position = position
        self._bad_line = bad_line

    @property
    def position(self) -> int:
        """About how many bytes of ``source.size`` have been read."""
        return self._position()

    def __iter__(self) -> Iterator[str]:
        readline = self._text.readline
        number = 0
        try:
            while line := readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise ValueError(
                        f"{self._source.name}, line {number}: has more than {_LONGEST_LINE >> 20} Mi characters"
                    )
                yield line
        except UnicodeError as error:
            raise self._bad_line() from error


@contextmanager
def open_lines(source: Source, encoding: str) -> Iterator[Lines]:
    """Open a file for reading its lines.

    Args:
        source: The file.
        encoding: The encoding of its text, if it has no byte order mark.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It cannot be unpacked or decoded; says where. Also raised while its lines are read.
    """
    with ExitStack() as stack:
        stream, position = _opened(source, stack)
        found = _encoding_of(stream, encoding)
        text = stack.enter_context(io.TextIOWrapper(stream, encoding=found, newline=""))
        yield Lines(source, text, position, lambda: _bad_line(source, found))


def _opened(source: Source, stack: ExitStack) -> tuple[io.BufferedReader, Callable[[], int]]:
    """Return the bytes of a file, unpacked, and a function that returns how much has been read."""
    if source.trouble:
        raise ValueError(f"{source.name}: {source.trouble}")
    raw = stack.enter_context(source.path.open("rb"))
    if source.member is not None:
        unpacked = _Unpacked(source.name, _member(source, raw, source.member), source.member.compress_size)
        return io.BufferedReader(unpacked, _BLOCK), lambda: unpacked.count
    lower = source.path.name.lower()
    if lower.endswith(".gz"):
        gz = stack.enter_context(gzip.GzipFile(fileobj=raw))
        return io.BufferedReader(_Unpacked(source.name, gz, source.size), _BLOCK), raw.tell
    if lower.endswith(".zst"):
        zst, damaged = _zstandard(source.name, raw)
        return io.BufferedReader(_Unpacked(source.name, zst, source.size, damaged), _BLOCK), raw.tell
    return raw, raw.tell


def _member(source: Source, raw: IO[bytes], entry: zipfile.ZipInfo) -> zipfile.ZipExtFile:
    """Open an entry directly: listing the archive again for each would take quadratic time."""
    raw.seek(entry.header_offset)
    header = raw.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise ValueError(f"{source.name}: cannot be unpacked: the archive has changed or is damaged")
    raw.seek(sum(struct.unpack("<HH", header[26:])), os.SEEK_CUR)
    return zipfile.ZipExtFile(raw, "r", entry)


class _Unpacked(io.RawIOBase):
    """The contents of a packed stream: no more than is plausible, and a clear error if it is damaged."""

    def __init__(
        self, name: str, stream: Any, packed: int, damaged: tuple[type[BaseException], ...] = _DAMAGED
    ) -> None:
        self.count = 0
        self._name = name
        self._stream = stream
        self._most = max(_MUCH, _RATIO * packed)
        self._damaged = damaged

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except self._damaged as error:
            raise ValueError(f"{self._name}: cannot be unpacked: {error}") from error
        self.count += len(data)
        if self.count > self._most:
            raise ValueError(
                f"{self._name}: unpacks to more than {_RATIO} times its size: unpack it yourself if intended"
            )
        buffer[: len(data)] = data
        return len(data)


def _zstandard(name: str, raw: IO[bytes]) -> tuple[Any, tuple[type[BaseException], ...]]:
    """Return a stream that unpacks Zstandard, and its exceptions; in the standard library since Python 3.14."""
    try:
        module: Any = import_module("compression.zstd")
        return module.ZstdFile(raw), (*_DAMAGED, module.ZstdError)
    except ImportError:
        pass
    try:
        module = import_module("zstandard")
    except ImportError:
        raise ValueError(
            f"{name}: is compressed with Zstandard: install the package zstandard, or use Python 3.14"
        ) from None
    return _Frames(raw, module.ZstdDecompressor()), (*_DAMAGED, module.ZstdError)


class _Frames:
    """Consecutive Zstandard frames. The package's own readers do not detect that a file is cut off."""

    def __init__(self, raw: IO[bytes], context: Any) -> None:
        self._raw = raw
        self._context = context
        self._frame: Any = None
        self._packed = b""
        self._ready = memoryview(b"")

    def read(self, size: int) -> bytes:
        while not self._ready:
            packed = self._packed or self._raw.read(1024)  # each KiB may become 32 MiB
            if not packed:
                if self._frame is not None:
                    raise EOFError("it is cut off")
                return b""
            self._frame = self._frame or self._context.decompressobj()
            self._ready = memoryview(self._frame.decompress(packed))
            self._packed = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
        data, self._ready = self._ready[:size], self._ready[size:]
        return bytes(data)


def _encoding_of(stream: io.BufferedReader, encoding: str) -> str:
    begin = stream.peek(4)
    return next((found for mark, found in _MARKS if begin.startswith(mark)), encoding)


def _bad_line(source: Source, encoding: str) -> ValueError:
    """Find the line that cannot be decoded by reading again: the decoder reads ahead of the lines."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, tail = 1, ""
    with ExitStack() as stack:
        stream, _ = _opened(source, stack)
        while True:
            block = stream.read(_BLOCK)
            try:
                text = tail + decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = codecs.getincrementaldecoder(encoding)().decode(error.object[: error.start])
                line += len(_LINE_END.findall(tail + before))
                return ValueError(f"{source.name}, line {line}: not {encoding} ({error.reason}): {_ADVICE}")
            except UnicodeError as error:  # UTF-16 without a byte order mark
                return ValueError(f"{source.name}, line {line}: not {encoding} ({error}): {_ADVICE}")
            if not block:
                break
            tail = "\r" if text.endswith("\r") else ""  # possibly the first half of a line end
            line += len(_LINE_END.findall(text[: len(text) - len(tail)]))
    return ValueError(f"{source.name}: not {encoding}: {_ADVICE}")


_ADVICE: Final = "pass its encoding, such as latin-1"
