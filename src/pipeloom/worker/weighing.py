"""Estimates the memory that staged rows take, from a sample; and cuts rows into pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from sys import getsizeof
from typing import Final

from pipeloom.data.rows import Block
from pipeloom.data.spool import Chunk

__all__ = ["chunks_of", "sample_of", "weight_of"]

_WEIGHED_ROWS: Final = 16


def chunks_of(blocks: Sequence[Block], weights: Sequence[float], most: int) -> Iterator[Chunk]:
    """Cut rows into pieces that fit in memory, in their order.

    Args:
        blocks: n blocks.
        weights: About how many bytes a row of each block takes.
        most: The maximum size of a piece in bytes; a piece has at least one row.
    """
    chunk: Chunk = []
    size = 0.0
    for block, weight in zip(blocks, weights, strict=True):
        step = max(int(most // max(weight, 1)), 1)
        for begin in range(0, len(block.rows), step):
            piece = Block(block.shape, block.rows[begin : begin + step], block.is_text)
            if chunk and size + weight * len(piece.rows) > most:
                yield chunk
                chunk, size = [], 0.0
            chunk.append(piece)
            size += weight * len(piece.rows)
    if chunk:
        yield chunk


def sample_of(rows: Sequence[Sequence[object]]) -> Sequence[Sequence[object]]:
    """Return a sample of at most 31 rows, evenly spaced."""
    return rows[:: max(len(rows) // _WEIGHED_ROWS, 1)]


def weight_of(rows: Sequence[Sequence[object]]) -> float:
    """Return about how many bytes of memory a row takes, estimated from a sample; 0 if there are none."""
    if len(rows) == 1:  # the usual case
        return 56 + 8 * len(rows[0]) + sum(map(getsizeof, rows[0]))
    sample = sample_of(rows)
    return sum([56 + 8 * len(row) + sum(map(getsizeof, row)) for row in sample]) / len(sample) if sample else 0.0
