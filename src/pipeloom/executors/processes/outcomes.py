"""Outcomes and outputs, to be sent as words, and as they were sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, get_args

from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Chunk, Spool
from pipeloom.executors.processes.raised import described, raised_again
from pipeloom.executors.processes.words import Ended, FilePart, Parcel, RowsPart, StatementPart
from pipeloom.messages import OnConflict
from pipeloom.wire import NO_PROGRESS, Outcome, Output, Staged
from pipeloom.worker.task import Task

__all__ = ["ended", "outcome_of", "output_of", "parcel_of", "statement_of", "statement_part"]

_STORABLE: Final = frozenset({type(None), int, float, str, bytes})
_WAYS: Final = get_args(OnConflict)


def ended(task: Task, serial: int, said: int, name: str, outcome: Outcome) -> Ended:
    """Return an outcome as it is sent; the worker's side.

    Args:
        task: Whose it is.
        serial: Under which it was sent.
        said: How many words came before.
        name: Under which it was sent.
        outcome: How it went.
    """
    status, message, result, failed, staged, finished_at, elapsed_s = outcome
    return Ended(
        serial,
        said,
        status,
        message,
        result,
        None if failed is None else described(*failed),
        None if staged is None else parcel_of(*staged),
        finished_at,
        elapsed_s,
        task.started_at,
        None if task.name == name else task.name,
        None if task.progress is NO_PROGRESS else task.progress,
    )


def outcome_of(word: Ended) -> Outcome:
    """Return an outcome as it was; the run's side."""
    raised = word.raised
    failed = None
    if raised is not None:
        failed = raised_again(raised), raised.trace, raised.is_worth_another_try
    staged: Staged | None = None
    if word.output is not None:
        staged = output_of(word.output), word.output.rows, word.output.size
    return word.status, word.message, word.result, failed, staged, word.finished_at, word.elapsed_s


def parcel_of(output: Output, rows: int, size: int) -> Parcel:
    """Return an output as it is sent."""
    return Parcel([_part(part) for part in output], rows, size)


def output_of(parcel: Parcel) -> Output:
    """Return an output as it was."""
    found: Output = []
    for part in parcel.parts:
        if isinstance(part, FilePart):
            spool = Spool(None)
            spool.extend([_of_part(one) for one in chunk] for chunk in part.chunks)
            found.append(spool)
        else:
            found.append(_of_part(part))
    return found


def statement_part(sql: str, params: Mapping[str, Any] | Iterable[Any]) -> StatementPart:
    """Return a statement as it is sent."""
    if isinstance(params, Mapping):
        return StatementPart(sql, (), dict(params))
    return StatementPart(sql, tuple(params), None)


def statement_of(part: StatementPart) -> Statement:
    """Return a statement as it was."""
    params = part.listed if part.named is None else part.named
    _check(params if part.named is None else part.named.values())
    return Statement(part.sql, params)


def _part(part: Spool | Block | Statement) -> RowsPart | StatementPart | FilePart:
    if type(part) is Spool:
        return FilePart([_parts(chunk) for chunk in part.chunks()])
    return _small_part(part)  # type: ignore[arg-type]  # mypy does not see that the rest is no spool


def _parts(chunk: Chunk) -> list[RowsPart | StatementPart]:
    return [_small_part(part) for part in chunk]


def _small_part(part: Block | Statement) -> RowsPart | StatementPart:
    if type(part) is Block:
        return RowsPart(part.shape, part.rows, part.is_text)
    return statement_part(*part)


def _check(values: Iterable[object]) -> None:
    if not _STORABLE.issuperset(map(type, values)):
        raise ValueError("values that nothing of ours has made")


def _of_part(part: RowsPart | StatementPart) -> Block | Statement:
    if isinstance(part, StatementPart):
        return statement_of(part)
    table, columns, on_conflict, conflict_on, alter = part.shape
    if on_conflict not in _WAYS or any(len(row) != len(columns) for row in part.rows):
        raise ValueError("rows that nothing of ours has made")
    _check(chain.from_iterable(part.rows))
    return Block(Shape(table, columns, on_conflict, conflict_on, alter), part.rows, part.is_text)  # type: ignore[arg-type]
