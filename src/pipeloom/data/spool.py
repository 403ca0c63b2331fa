"""Output that is too large for memory: stored in a temporary file and read back one chunk at a time.

A chunk is what was added together, in order: most of its rows in an image, the few others as they are.

The file has no name, so nothing is left of it after a crash. It is closed when the last reference to its spool is
dropped, since only then can no thread be using it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, Final

from pipeloom.data.found import Found, Identify
from pipeloom.data.image import Buffer, StagedTable, Stretch
from pipeloom.data.packed import Chunk, pack, unpack
from pipeloom.data.rows import Block, Shape

__all__ = ["Chunk", "Spool"]

_Place = tuple[int, int, list[int]]
"""Where a chunk begins, the number of bytes before its images, and the number of bytes of each image."""

_SPARE: Final = 4 * 2**20  # bytes, for commits in the meantime


class Spool:
    """n chunks of one output, in a file.

    One thread at a time may append. Afterwards any thread may read, any number of times. Both block on the disk.

    Args:
        directory: Where to create the file; ``None`` means the system's temporary directory.
        fd: The descriptor of an existing file.

    Attributes:
        rows: The number of rows in it.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, directory: str | None, fd: int | None = None) -> None:
        if fd is None:
            import tempfile  # imported late: worker processes start faster

            with tempfile.TemporaryFile(buffering=0, dir=directory) as file:
                fd = os.dup(file.fileno())
        self._fd = fd  # not a Python file object: garbage collection might finalize it first, with a warning
        self._owner = os.getpid()
        self._places: list[_Place] = []
        self._found: list[_Place] = []  # the chunks with inputs, which may have to be rewritten
        self._end = 0  # of the data written so far
        self._tables: dict[tuple[str, bool], StagedTable] = {}  # table, alter → its columns in order
        self.rows = 0

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()

    def close(self) -> None:
        """Close the file; calling it twice is fine. Otherwise the file is closed with the spool."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __reduce__(self) -> tuple[Any, ...]:
        return _spool_of, (list(self.chunks()),)

    def fileno(self) -> int:
        """Return the file's descriptor, to pass it to another process together with ``plain``."""
        return self._fd

    def plain(self) -> tuple[object, ...]:
        """Return a description that is sent beside the file, as built-in types; see ``of``."""
        return self._places, self._found, [table.plain() for table in self._tables.values()], self.rows

    @classmethod
    def of(cls, fd: int, plain: Any) -> Spool:
        """Return a spool that another process wrote.

        Args:
            fd: A descriptor of its file, owned by the spool from now on.
            plain: What ``plain`` returned there.

        Raises:
            ValueError: ``plain`` did not return it, or the file is a different one.
        """
        spool = cls(None, fd)
        size = os.fstat(fd).st_size
        places, found, tables, rows = plain
        for here, told in ((spool._places, places), (spool._found, found)):
            for offset, length, images in told:
                if min(offset, length, *images) < 0 or _end_of((offset, length, images)) > size:
                    raise ValueError("the file is shorter than its description says")
                here.append((offset, length, list(images)))
                spool._end = max(spool._end, _end_of(here[-1]))
        for table in map(StagedTable.from_plain, tables):
            spool._tables[table.shape.table, table.shape.alter] = table
        spool.rows = rows
        return spool

    def extend(self, chunks: Iterable[Chunk]) -> None:
        """Append n chunks, or none if it raises.

        Raises:
            OSError: The file cannot be written, for example because the disk is too full for it and then its rows.
        """
        places: list[_Place] = []
        inputs: list[_Place] = []
        found: list[tuple[Shape, list[set[type]], int]] = []
        end = self._end
        for whole in chunks:
            chunk: Chunk = [part for part in whole if not isinstance(part, Found)]
            if chunk or not whole:
                places.append(self._put(chunk, end))
                end = _end_of(places[-1])
            if len(chunk) < len(whole):
                inputs.append(self._put([part for part in whole if isinstance(part, Found)], end))
                end = _end_of(inputs[-1])
            for part in chunk:
                if isinstance(part, Stretch):
                    found.append((part.table.shape, part.table.kinds, part.rows))
                elif isinstance(part, Block):
                    found.append((part.shape, [set() for _ in part.shape.columns], len(part.rows)))
        self._places += places
        self._found += inputs
        self._end = end
        for shape, kinds, rows in found:
            self._note(shape, kinds)
            self.rows += rows

    def chunks(self) -> Iterator[Chunk]:
        """Read everything, one chunk at a time; chunks with added inputs come last.

        Raises:
            OSError: The file cannot be read.
            ValueError: Something else wrote to it.
        """
        return map(self._chunk_at, [*self._places, *self._found])

    @property
    def has_inputs(self) -> bool:
        """Whether it contains inputs that the task added."""
        return bool(self._found)

    def identify(self, identify: Identify) -> None:
        """Determine which tasks all the inputs in it are, one chunk at a time.

        Raises:
            OSError: As for ``extend`` and ``chunks``.
            Exception: Whatever ``identify`` raises.
        """
        before, self._found = self._found, []
        for place in before:
            found = [part for part in self._chunk_at(place) if isinstance(part, Found)]
            self.extend([[Found(part.items, identify(part.items)) for part in found]])

    def _chunk_at(self, place: _Place) -> Chunk:
        offset, length, sizes = place
        begins = accumulate(sizes, initial=offset + length)
        images = [self._read(begin, size) for begin, size in zip(begins, sizes, strict=False)]
        return unpack(self._read(offset, length), images)

    def _put(self, chunk: Chunk, offset: int) -> _Place:
        """Write a chunk at an offset."""
        head, images = pack(chunk)
        end = offset
        for data in (head, *[image.data for image in images]):
            self._write(data, end)
            end += len(data)
        return offset, len(head), [len(image.data) for image in images]

    def outlines(self) -> list[Block]:
        """Return, for each table in it, rows with all columns and all the value types that are known.

        Nothing is read; for rows outside an image, no types are known.
        """
        return [table.examples() for table in self._tables.values()]

    def _note(self, shape: Shape, kinds: list[set[type]]) -> None:
        known = self._tables.get((shape.table, shape.alter))
        merged = {} if known is None else dict(zip(known.shape.columns, known.kinds, strict=True))
        for name, found in zip(shape.columns, kinds, strict=True):
            merged[name] = merged.get(name, set()) | found
        table = StagedTable(Shape(shape.table, tuple(merged), "error", (), shape.alter), ("",) * len(merged))
        table.kinds = list(merged.values())
        self._tables[shape.table, shape.alter] = table

    def _write(self, data: Buffer, offset: int) -> None:
        if os.getpid() != self._owner:
            return  # a forked child shares the file with its parent, and its output is never stored
        self._check_room(offset + len(data), len(data))
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self._fd, rest, offset)
            rest, offset = rest[done:], offset + done

    def _check_room(self, total: int, more: int) -> None:
        """Stop before the disk is full: others commit in the meantime, and this data must still be stored."""
        found = os.fstatvfs(self._fd)
        if found.f_bavail * found.f_frsize < more + total + _SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read(self, offset: int, length: int) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            done = os.preadv(self._fd, [rest], offset)
            if not done:
                raise OSError("the temporary file of a task's output was truncated")
            rest, offset = rest[done:], offset + done
        return data


def _end_of(place: _Place) -> int:
    offset, length, images = place
    return offset + length + sum(images)


def _spool_of(chunks: list[Chunk]) -> Spool:
    """Create a spool in another process, where the file does not exist."""
    spool = Spool(None)
    spool.extend(chunks)
    return spool
