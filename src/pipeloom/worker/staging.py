"""What a task has written so far, kept until it ends or reaches a checkpoint.

::

    rows ─▶ Block, while they are few ─▶ Stage, in memory ─▶ Image ─▶ Spool, if they are too large for memory

Rows are weighed as they arrive, and keep their order: an output starts with what is in the spool file, if anything.
Where rows are kept has no effect on what is stored. Any thread of the task may write; values are converted before
the lock is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import mul
from sys import getsizeof
from typing import Any, Final

from pipeloom.data.columns import Declared
from pipeloom.data.flat import Plans, flattened
from pipeloom.data.found import Found
from pipeloom.data.image import CAN_STAGE, Stretch
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Chunk, Spool
from pipeloom.data.text import clean
from pipeloom.data.values import explain_unbindable
from pipeloom.errors import RowRefusedError, TaskTooLargeError
from pipeloom.wire import Output, Staged
from pipeloom.worker.stage import Stage
from pipeloom.worker.weighing import chunks_of, sample_of, weight_of

__all__ = ["Staging"]

_FIRST_ROWS: Final = 64  # taken from an iterator before their size is known
_SELDOM: Final = 61  # a prime number, in case every other row is heavy
_HEAVY_ROW: Final = 16 * 1024
_HELD: Final = 16 * 2**20
"""Bytes in memory, an estimate. Going through the file adds a third to the time that storing the rows takes: the
rows of a one-megabyte input should not go there, and a dozen workers should not take a gigabyte."""
_VALUES: Final = 5000
_HANDFUL: Final = 256  # rows: few enough that they are still in the processor's cache after reading
_LONGEST: Final = 999_000_000  # bytes: SQLite may not be able to hold more in one row
_GLANCED_ROWS: Final = 8
_ENOUGH: Final = 4096
"""Values in a block; with fewer, building and reading an image takes longer than storing the rows one by one."""
_STATEMENT: Final = Shape("a statement", (), "error", ())
_INPUTS: Final = Shape("an input", (), "error", ())


class Staging:
    """Blocks of rows and statements in order, and an estimate of the memory they take.

    Args:
        limit: How many bytes may be staged, in memory and in the file together; may be infinite.
        directory: The directory of the file; ``None`` for the system's directory for temporary files.
        declared: The column types that rows are converted to before they go into an image; ``None`` if no rows do.

    Attributes:
        is_closed: The task has ended; anything added now would not be stored.
        lock: Must be held while changing this; reentrant, because a destructor of the task may run and write.
    """

    is_closed = False
    _size = 0  # bytes, estimated from a sample of the rows
    _held = 0  # the part of `_size` that is in memory
    _unweighed = 0
    _weigh_every = 1

    def __init__(self, limit: float, directory: str | None = None, declared: Declared | None = None) -> None:
        self.lock = threading.RLock()
        self._limit = limit
        self._directory = directory
        self._declared = declared if CAN_STAGE else None
        self._plans = Plans(declared or {})
        self._parts: Output = []
        self._found: list[str] = []  # separate, so that a loop that writes and adds does not split its rows
        self._stage: Stage | None = None

    @property
    def last(self) -> Spool | Block | Statement | Stretch | Found | None:
        """The last part that was added; any thread."""
        parts = self._parts  # read once: another thread may reach a checkpoint
        return parts[-1] if parts else None

    def append(self, block: Block, row: tuple[object, ...]) -> bool:
        """Add a row to the last block and return whether that worked; under the lock.

        It works if ``block`` is still the last one and the row need not be weighed.
        """
        parts = self._parts  # read once: see `abandon`
        if self._unweighed + 1 < self._weigh_every and parts and parts[-1] is block and not block.is_text:
            self._unweighed += 1
            block.rows.append(row)
            return True
        return False

    def join(self, block: Block, row: tuple[object, ...]) -> None:
        """Add a row of the same shape as the block before it, and weigh it if one is due; under the lock.

        Raises:
            RowRefusedError, TaskTooLargeError: As for ``add``.
        """
        self._unweighed += 1
        if self._unweighed >= self._weigh_every:
            self._weigh(block.shape, row)
        self._put(Block(block.shape, [row]))

    def add(self, blocks: Sequence[Block]) -> None:
        """Add the n rows of one call; under the lock. Blocks on the disk if they are too large for memory.

        Raises:
            TaskTooLargeError: The rows would exceed the limit, or do not fit on the disk; none is added.
            RowRefusedError: A row is too large for SQLite.
        """
        weights = [weight_of(block.rows) for block in blocks]
        size = int(sum(map(mul, weights, [len(block.rows) for block in blocks])))
        if blocks:
            chunks = chunks_of(blocks, weights, _HELD) if size > _HELD else None
            self._make_room(size, blocks[-1].shape, blocks[-1].rows, chunks)
            if chunks is None:
                for block in blocks:
                    self._put(block)

    def add_words(self, shape: Shape, rows: Sequence[Any], absent: frozenset[Any], count: int) -> bool:
        """Add rows that consist of text only, straight from a file; under the lock.

        Args:
            shape: The shape of the rows before these.
            rows: n rows, as the caller passed them.
            absent: Values to store as NULL.
            count: How many rows came before.

        Returns:
            False if they are too few or need individual checks; then nothing was added.

        Raises:
            RowRefusedError, TaskTooLargeError: As for ``add``.
        """
        if self._declared is None or (self._stage is None and len(rows) * len(shape.columns) < _ENOUGH):
            return False
        flat = flattened(rows, self._plans[shape], absent)
        if flat is None:
            return False
        self._make_room(self._size // count * len(rows), shape, rows[-1:], held=0)
        stage = self._stage
        if stage is None:
            stage = self._stage = Stage(self._plans)
        before = stage.size
        stretch = stage.put_flat(shape, flat)
        if stretch is None:
            return False
        self._join(stretch)
        self._held += stage.size - before
        return True

    def _join(self, stretch: Stretch) -> None:
        """Append rows that are on the stage to the rows before them."""
        parts = self._parts
        last = parts[-1] if parts else None
        joined = last.joined(stretch) if isinstance(last, Stretch) else None
        if joined is None:
            parts.append(stretch)
        else:
            parts[-1] = joined

    def apart(self) -> Staging:
        """Return a separate staging area for the rows of one call, until all have arrived; see ``adopt``."""
        return Staging(self._limit - self._size, self._directory, self._declared)

    def handful(self, count: int, width: int = 0) -> int:
        """Return how many more rows to take at once, judging by the size of the rows so far.

        Args:
            count: How many rows there have been.
            width: How many columns they have, if known; otherwise 0.
        """
        if not self._size:
            return _FIRST_ROWS
        return max(
            1, min(_HELD * count // self._size, _HANDFUL * max(1, _VALUES // (_HANDFUL * width) if width else 1))
        )

    def adopt(self, other: Staging) -> None:
        """Add what one call has collected separately; under the lock.

        Raises:
            TaskTooLargeError: As for ``add``.
        """
        size = other._size
        if not self._parts:
            self._parts, self._stage = other._parts, other._stage
            self._size, self._held = self._size + size, self._held + other._held
            return
        parts, _, held = other.take()
        if not parts:
            return
        last = parts[-1]
        shape, rows = (last.shape, last.rows) if isinstance(last, Block) else (_STATEMENT, [])
        first = parts[0]
        if isinstance(first, Spool):
            rest: Chunk = [part for part in parts[1:] if not isinstance(part, Spool)]
            self._make_room(size, shape, rows, chain(first.chunks(), [rest] if rest else []))
            return
        self._make_room(size, shape, rows, held=held)
        for part in parts:
            if isinstance(part, Block):
                self._put(part)
            elif isinstance(part, Stretch):
                self._parts.append(part)

    def add_statement(self, statement: Statement) -> None:
        """Add a statement; under the lock.

        Raises:
            RowRefusedError, TaskTooLargeError: As for ``add``.
        """
        self._unweighed += 1
        if self._unweighed >= self._weigh_every:
            params = statement.params
            row = (statement.sql, *(params.values() if isinstance(params, dict) else params))
            self._weigh(_STATEMENT, row)
        self._parts.append(statement)

    def add_inputs(self, items: list[str]) -> None:
        """Add n inputs that the task has found, as text, n ≥ 1; under the lock.

        Raises:
            TaskTooLargeError: As for ``add``.
        """
        size = sum(map(getsizeof, items)) + 8 * len(items)
        chunks: list[Chunk] | None = None
        if size > _HELD:
            step = max(1, _HELD * len(items) // size)
            chunks = [[Found(items[begin : begin + step])] for begin in range(0, len(items), step)]
        self._make_room(size, _INPUTS, [(items[-1],)], chunks)
        if chunks is None:
            self._found += items

    def take(self) -> Staged:
        """Return what is staged, its number of rows and its memory, and start empty again; under the lock."""
        self._seal()
        parts, held = self._parts, self._held
        if self._found:
            parts.append(Found(self._found))
        self._parts, self._found, self._size, self._held = [], [], 0, 0
        return parts, sum([_rows_in(part) for part in parts]), held

    def close(self, *, keep: bool) -> Staged | None:
        """Refuse further additions, and return what is staged if there is anything and ``keep`` is true."""
        with self.lock:
            self.is_closed = True
            if (self._parts or self._found) and keep:
                return self.take()
            self._parts, self._found, self._stage = [], [], None
            return None

    def abandon(self) -> None:
        """Refuse further additions and drop what is staged, for a call that continues although it was given up.

        Any thread, and without the lock: the call may hold it while it waits for room in the channel, as long as
        another program holds the file's lock. Anything added at this instant is dropped once the call returns.
        """
        self.is_closed = True
        self._parts, self._found, self._size, self._held, self._stage = [], [], 0, 0, None

    def _put(self, block: Block) -> None:
        """Add rows to the last block if they have its shape."""
        parts = self._parts
        last = parts[-1] if parts else None
        if type(last) is Block and last.shape == block.shape and last.is_text == block.is_text:
            last.rows.extend(block.rows)
            block = last
        else:
            parts.append(block)
        if self._declared is not None and len(block.rows) * len(block.shape.columns) >= _ENOUGH:
            parts.pop()
            self._put_on_stage(block, parts)

    def _put_on_stage(self, block: Block, parts: Output) -> None:
        """Move rows from Python's memory to SQLite's, while they are in the processor's cache."""
        stage = self._stage
        if stage is None:
            stage = self._stage = Stage(self._plans)
        weight, before = int(weight_of(block.rows[:_GLANCED_ROWS]) * len(block.rows)), stage.size
        stretches, rest = stage.put(block)
        for stretch in stretches:
            self._join(stretch)
        if rest is not None:
            self._declared = None  # later rows would be refused in the same way
            parts.append(rest)
        else:
            self._held = max(self._held - weight, 0) + stage.size - before

    def _seal(self) -> None:
        """Turn the stage into an image."""
        if self._stage is not None:
            self._stage.seal()
            self._stage = None

    def _weigh(self, shape: Shape, row: tuple[object, ...]) -> None:
        """Weigh one row on behalf of all rows since the last one weighed.

        Light rows are weighed less and less often, because weighing takes a fifth of the time of writing a row.
        """
        per_row = weight_of([row])
        self._make_room(int(per_row * self._unweighed), shape, [row])
        self._weigh_every = 1 if per_row > _HEAVY_ROW else min(self._weigh_every * 2, _SELDOM)
        self._unweighed = 0

    def _make_room(
        self,
        size: int,
        shape: Shape,
        rows: Sequence[Sequence[object]],
        chunks: Iterable[Chunk] | None = None,
        held: int | None = None,
    ) -> None:
        """Count what is about to be added, and move what is in memory to the file if there would be too much.

        Args:
            size: About how many bytes are added.
            shape: The shape of the rows, for error messages.
            rows: The rows that are added, or the last of them.
            chunks: The rows themselves, if they alone are too large for memory: they go into the file as well.
            held: How many of the bytes will be in memory. Default: all of them, or none with ``chunks``.

        Raises:
            RowRefusedError, TaskTooLargeError: As for ``add``; nothing is counted.
        """
        if self._size + size > self._limit or size > _LONGEST:
            if (reason := explain_unbindable(sample_of(rows), shape.table, shape.columns)) is not None:
                raise RowRefusedError(reason)
            if size > self._limit - self._size:
                raise TaskTooLargeError(
                    f"the task has staged about {(self._size + size) / 2**20:,.1f} MiB (most recently for "
                    f"{clean(shape.table, 60)}), more than max_task_mb={self._limit / 2**20:g}: call "
                    "ctx.checkpoint(state) regularly, which stores what is staged, or pass a larger max_task_mb="
                )
        if held is None:
            held = size if chunks is None else 0
        if chunks is not None or (self._held and self._held + held > _HELD):
            self._spool(chunks or (), shape)
        self._size += size
        self._held += held

    def _spool(self, chunks: Iterable[Chunk], shape: Shape) -> None:
        """Move what is in memory to the file, followed by n chunks; the output then starts with the file.

        Raises:
            TaskTooLargeError: The disk is full, or the file cannot be created; what was staged is unchanged.
        """
        parts, found = self._parts, self._found  # read once: see `abandon`
        try:
            first = parts[0] if parts else None
            spool = first if type(first) is Spool else Spool(self._directory)
            held: Chunk = [part for part in parts if not isinstance(part, Spool)]
            if found:
                held.append(Found(found))
            if held:
                self._seal()
                spool.extend([held])
                parts[:] = [spool]
                found.clear()
                self._held = 0
            spool.extend(map(self._staged, chunks))
            parts[:] = [spool]
        except (OSError, ValueError) as error:
            import tempfile  # late, so that worker processes start faster

            where = clean(self._directory or tempfile.gettempdir())
            reason = clean(getattr(error, "strerror", None) or error)
            raise TaskTooLargeError(
                f"the task has staged about {self._size / 2**20:,.1f} MiB (most recently for "
                f"{clean(shape.table, 60)}), and the part that does not fit in memory cannot be written to a "
                f"temporary file in {where} ({reason}): free space there, or call ctx.checkpoint(state) regularly, "
                "which stores what is staged"
            ) from error

    def _staged(self, chunk: Chunk) -> Chunk:
        """Return a chunk whose larger blocks have been turned into an image."""
        apart = Staging(float("inf"), None, self._declared)
        for part in chunk:
            if isinstance(part, Block):
                apart._put(part)
            else:
                apart._parts.append(part)
        return [part for part in apart.take()[0] if not isinstance(part, Spool)]


def _rows_in(part: Spool | Block | Statement | Stretch | Found) -> int:
    if isinstance(part, Block):
        return len(part.rows)
    return part.rows if isinstance(part, Spool | Stretch) else 0
