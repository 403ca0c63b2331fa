"""What a task has written and memory should not hold: put into a temporary file, and read again a chunk at a time.

The file has no name, so nothing is left of it after a crash. It is closed when the last reference to its spool is
dropped: only then is no thread in the middle of using it.
"""

from __future__ import annotations

import errno
import marshal
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from pipeloom.data.rows import Block, Shape, Statement

__all__ = ["Chunk", "Spool"]

Chunk: TypeAlias = "list[Block | Statement]"
"""A stretch of an output, in its order."""

_SPARE: Final = 4 * 2**20  # bytes, for what is committed meanwhile


class Spool:
    """n chunks of one output, in a file.

    One thread at a time appends. Once none does, any thread may read, again and again. Both block on the disk.

    Args:
        directory: Where the file is; ``None`` is the system's place for temporary files.

    Attributes:
        rows: How many rows are in there.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, directory: str | None) -> None:
        self._file = tempfile.TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115 - see __del__
        self._owner = os.getpid()
        self._places: list[tuple[int, int]] = []  # where each chunk begins, and how many bytes it has
        self._columns: dict[tuple[str, bool], dict[str, None]] = {}  # table, alter → columns in their order
        self.rows = 0

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _spool_of, (list(self.chunks()),)

    def extend(self, chunks: Iterable[Chunk]) -> None:
        """Append n chunks, or, when that raises, none.

        Raises:
            OSError: The file cannot be written, as when the disk has no room for it, and then for its rows.
        """
        places: list[tuple[int, int]] = []
        blocks: list[tuple[Shape, int]] = []
        end = sum(self._places[-1]) if self._places else 0
        for chunk in chunks:
            data = marshal.dumps(_plain(chunk))
            self._write(data, end)
            places.append((end, len(data)))
            end += len(data)
            blocks += [(part.shape, len(part.rows)) for part in chunk if type(part) is Block]
        self._places += places
        for shape, rows in blocks:
            self.rows += rows
            self._columns.setdefault((shape.table, shape.alter), {}).update(dict.fromkeys(shape.columns))

    def chunks(self) -> Iterator[Chunk]:
        """Read all of it, one chunk at a time.

        Raises:
            OSError: The file cannot be read.
        """
        for offset, length in self._places:
            shapes, parts = marshal.loads(self._read(offset, length))
            named = [Shape(*shape) for shape in shapes]
            yield [
                Block(named[which], said, is_text) if type(which) is int else Statement(which, said)
                for which, said, is_text in parts
            ]

    def outlines(self) -> list[Block]:
        """Return, for each table in there, a row of NULLs with all its columns; nothing is read."""
        return [
            Block(Shape(table, tuple(columns), "error", (), alter), [(None,) * len(columns)])
            for (table, alter), columns in self._columns.items()
        ]

    def _write(self, data: bytes, offset: int) -> None:
        if os.getpid() != self._owner:
            return  # a forked child shares the file with its parent, and nobody stores what it writes
        self._check_room(offset + len(data), len(data))
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._file.fileno(), rest, offset)
            rest, offset = rest[done:], offset + done

    def _check_room(self, total: int, more: int) -> None:
        """Stop before the disk is full: others commit meanwhile, and what is in here has to be stored."""
        found = os.fstatvfs(self._file.fileno())
        if found.f_bavail * found.f_frsize < more + total + _SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read(self, offset: int, length: int) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            done = os.preadv(self._file.fileno(), [rest], offset)
            if not done:
                raise OSError("a temporary file of a task's was cut off")
            rest, offset = rest[done:], offset + done
        return data


def _plain(chunk: Chunk) -> tuple[list[tuple[object, ...]], list[tuple[object, object, bool]]]:
    """Return a chunk as ``marshal`` takes it: shapes, and parts that name them by their number."""
    shapes: dict[Shape, int] = {}
    parts: list[tuple[object, object, bool]] = [
        (shapes.setdefault(part.shape, len(shapes)), part.rows, part.is_text)
        if type(part) is Block
        else (str.__str__(part[0]), part[1], False)
        for part in chunk
    ]
    return [tuple(map(_exact, shape)) for shape in shapes], parts


def _exact(field: object) -> object:
    """Return a part of a shape without subclasses: a name may be an Enum's member."""
    if isinstance(field, tuple):
        return tuple(map(_exact, field))
    return str.__str__(field) if isinstance(field, str) else field


def _spool_of(chunks: list[Chunk]) -> Spool:
    """Make a spool in another process, where the file is not."""
    spool = Spool(None)
    spool.extend(chunks)
    return spool
