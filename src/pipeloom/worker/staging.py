"""What a task has written so far, kept with it until it ends or comes to a checkpoint.

Rows are weighed as they come, so that a task which writes without end is told before memory is full. Any thread of
the task may write; what becomes of its values is settled before the lock is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from sys import getsizeof
from typing import Final

from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.text import clean
from pipeloom.data.values import explain_unbindable
from pipeloom.errors import RowRefusedError, TaskTooLargeError
from pipeloom.wire import Output, Staged

__all__ = ["Staging"]

_WEIGHED_ROWS: Final = 64
_HEAVY_ROW: Final = 16 * 1024
_STATEMENT: Final = Shape("a statement", (), "error", ())


class Staging:
    """Blocks of rows and statements in their order, and about how much memory they take.

    Args:
        limit: How many bytes there may be.

    Attributes:
        is_closed: The task has ended: what is added now would be stored by nobody.
        lock: Held by whoever changes this; reentrant, since a destructor of the task's may run, and write.
    """

    is_closed = False
    _size = 0  # an estimate, from one row in so many
    _unweighed = 0
    _weigh_every = 1

    def __init__(self, limit: float) -> None:
        self.lock = threading.RLock()
        self._limit = limit
        self._parts: Output = []

    @property
    def last(self) -> Block | Statement | None:
        """What came last; any thread."""
        parts = self._parts  # once: another thread may come to a checkpoint
        return parts[-1] if parts else None

    def append(self, block: Block, row: tuple[object, ...]) -> bool:
        """Add a row to the last block, if that is still ``block`` and it need not be weighed; under the lock."""
        parts = self._parts  # once: see `abandon`
        if self._unweighed + 1 < self._weigh_every and parts and parts[-1] is block:
            self._unweighed += 1
            block.rows.append(row)
            return True
        return False

    def join(self, block: Block, row: tuple[object, ...]) -> None:
        """Add a row to the block before it, and weigh it when it is time; under the lock.

        Raises:
            RowRefusedError, TaskTooLargeError: As ``add``.
        """
        self._unweighed += 1
        if self._unweighed >= self._weigh_every:
            # Light rows are weighed ever more seldom: it takes a fifth of the time of writing one.
            heavy = self._weigh(block.shape, [row], self._unweighed) > _HEAVY_ROW
            self._weigh_every = 1 if heavy else min(self._weigh_every * 2, _WEIGHED_ROWS)
            self._unweighed = 0
        self._put(Block(block.shape, [row]))

    def add(self, blocks: Sequence[Block]) -> None:
        """Add the n rows of one call; under the lock.

        Raises:
            TaskTooLargeError: There would be more than the limit; nothing of them is added.
            RowRefusedError: A row is so large that SQLite cannot hold it.
        """
        size = self._size
        try:
            for block in blocks:
                self._weigh(block.shape, block.rows, len(block.rows))
        except BaseException:
            self._size = size
            raise
        for block in blocks:
            self._put(block)

    def add_statement(self, statement: Statement) -> None:
        """Add a statement; under the lock.

        Raises:
            RowRefusedError, TaskTooLargeError: As ``add``.
        """
        params = statement.params
        values = params.values() if isinstance(params, dict) else params
        self._weigh(_STATEMENT, [(statement.sql, *values)], 1)
        self._parts.append(statement)

    def take(self) -> Staged:
        """Hand over what there is, and begin anew; under the lock."""
        parts, size = self._parts, self._size
        self._parts, self._size = [], 0
        return parts, sum([len(part.rows) for part in parts if type(part) is Block]), size

    def close(self, *, keep: bool) -> Staged | None:
        """Refuse what is added from now on, and hand over what there is, if anything, and if it is to be kept."""
        with self.lock:
            self.is_closed = True
            if self._parts and keep:
                return self.take()
            self._parts = []
            return None

    def abandon(self) -> None:
        """Refuse what is added from now on, and drop the rest, for a call that goes on although it was given up.

        Any thread, and without the lock: the call may hold it, waiting for room in the channel, for as long as
        another program holds the file's lock. What is added at this instant is dropped once the call returns.
        """
        self.is_closed = True
        self._parts, self._size = [], 0

    def _put(self, block: Block) -> None:
        """Add rows to the last block when they have its shape."""
        parts = self._parts
        last = parts[-1] if parts else None
        if type(last) is Block and last.shape == block.shape:
            last.rows.extend(block.rows)
        else:
            parts.append(block)

    def _weigh(self, shape: Shape, rows: Sequence[Sequence[object]], count: int) -> float:
        """Add ``count`` rows to the size, judged by up to 64 of them; returns bytes per row."""
        if not rows:
            return 0.0
        sample = rows[:: max(len(rows) // _WEIGHED_ROWS, 1)]
        per_row = sum(map(_size_of, sample)) / len(sample)
        size = self._size + int(per_row * count)
        if size > self._limit:
            if (reason := explain_unbindable(sample, shape.table, shape.columns)) is not None:
                raise RowRefusedError(reason)
            raise TaskTooLargeError(
                f"the task has staged about {size / 2**20:,.1f} MiB (the last for {clean(shape.table, 60)}), more "
                f"than max_task_mb={self._limit / 2**20:g}: call ctx.checkpoint(state) now and then, "
                "which stores what is staged, or pass a larger max_task_mb="
            )
        self._size = size
        return per_row


def _size_of(row: Sequence[object]) -> int:
    """Return about how many bytes of memory a row takes."""
    return 56 + 8 * len(row) + sum(map(getsizeof, row))
