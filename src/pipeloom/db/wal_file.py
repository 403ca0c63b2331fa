"""The write-ahead log as a file: whether it contains everything that SQLite relies on.

SQLite keeps the number of frames of the log in shared memory, and reads frames without checking their checksums. If
something empties or truncates the log, and the next commit extends it again, the log is full of holes, and the next
checkpoint copies them into the database.

Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log, https://www.sqlite.org/walformat.html (2.1)
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pipeloom.db.place import READING

__all__ = ["INDEX_HEADER", "LogState", "is_whole", "log_state"]

INDEX_HEADER: Final = 48  # bytes at the beginning of the -shm
_INDEX: Final = struct.Struct("=3I2BHII2I2I2I")  # in the machine's own order
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_MAGIC: Final = 0x377F0682  # plus one if checksums are computed over big-endian words
_HOLES: Final = 64  # examined; if pages of zeros become holes, there may be many


class LogState(NamedTuple):
    """What SQLite's shared memory says about a log: the number of frames, and the page size in bytes."""

    frames: int
    page_bytes: int

    @property
    def length(self) -> int:
        """The least length of the log, in bytes."""
        return self.end_of(self.frames)

    def end_of(self, frames: int) -> int:
        """Return where that many frames end, in bytes."""
        return _LOG_HEADER + frames * (_FRAME_HEADER + self.page_bytes) if frames else 0


def log_state(header: bytes) -> LogState:
    """Return the state in the first 48 bytes of the index."""
    _, _, _, _, _, page_bytes, frames, *_ = _INDEX.unpack(header)
    return LogState(frames, 65536 if page_bytes == 1 else page_bytes)


def is_whole(log: Path, state: LogState) -> bool:
    """Return whether all frames exist; takes a few system calls, whatever the log's length, unless there is a hole.

    A hole may also be a page of zeros, which some file systems store as a hole: the frame's checksum decides.
    SQLite takes no locks on a log, so opening and closing it is safe.
    """
    try:
        descriptor = os.open(log, READING)
    except OSError:
        return True  # removed, or unreadable: detected by its identity
    try:
        size = os.fstat(descriptor).st_size
        if size < state.length:
            return False
        return all(_is_sound(descriptor, frame, state) for frame in _frames_in_holes(descriptor, state))
    except OSError:
        return True  # a file system without holes
    finally:
        os.close(descriptor)


def _frames_in_holes(descriptor: int, state: LogState) -> Iterator[int]:
    """Yield frames that extend into a hole, counted from 0; the first two in each hole are enough."""
    end, at = state.length, 0
    for _ in range(_HOLES):
        hole = os.lseek(descriptor, at, os.SEEK_HOLE) if at < end else end
        if hole >= end:
            return
        try:
            at = os.lseek(descriptor, hole, os.SEEK_DATA)
        except OSError:
            at = end  # a hole to the end
        first = max(hole - _LOG_HEADER, 0) // (_FRAME_HEADER + state.page_bytes)
        yield first
        if state.end_of(first + 1) < min(at, end):
            yield first + 1


def _is_sound(descriptor: int, frame: int, state: LogState) -> bool:
    """Return whether a frame, counted from 0, has the log's salts and a checksum that continues the chain."""
    header = os.pread(descriptor, _LOG_HEADER, 0)
    magic, *_, salt, before = struct.unpack(">4I8s8s", header)
    if magic & ~1 != _MAGIC:
        return False
    start = state.end_of(frame) or _LOG_HEADER
    if frame:
        before = os.pread(descriptor, 8, start - state.page_bytes - 8)
    content = os.pread(descriptor, _FRAME_HEADER + state.page_bytes, start)
    if len(content) < _FRAME_HEADER + state.page_bytes or content[8:16] != salt:
        return False
    first, second = struct.unpack(">2I", before)
    words = content[:8] + content[_FRAME_HEADER:]
    order = ">" if magic & 1 else "<"
    for even, odd in struct.iter_unpack(f"{order}2I", words):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return content[16:24] == struct.pack(">2I", first, second)
