"""Fold the items from the channel: decide what has to be written, and in which order.

::

    items ─▶ Fold ─▶ Batch: the latest status messages of each numbered task ▸ attempts that ended
                            ▸ checkpoints ▸ users' rows, statements and messages in their order

Nothing here changes the database or the items, so a lost batch can be folded again with the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Sequence
from typing import Any, Final

from pipeloom.data.keys import task_number
from pipeloom.data.rows import Blocks
from pipeloom.data.values import NUMBER_LIMIT
from pipeloom.errors import AttemptOverError
from pipeloom.ledger.attempt import Attempt, Snapshot, Spoken, StagedCheckpoint
from pipeloom.ledger.tables import StagedOutput
from pipeloom.messages import MsgTaskFinished, MsgTaskProgress, MsgTaskStarted
from pipeloom.statuses import DONE

__all__ = ["Batch", "Said", "fold"]

logger = logging.getLogger("pipeloom")

_NOBODY: Final = NUMBER_LIMIT
_STATUS_MESSAGES: Final = (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished)


class Said:
    """The status messages of one task in a batch: at most one each of start, progress and finish, in that order."""

    __slots__ = ("finished", "progress", "started")

    def __init__(self) -> None:
        self.started: MsgTaskStarted | None = None
        self.progress: MsgTaskProgress | None = None
        self.finished: MsgTaskFinished | None = None


class Batch:
    """What one transaction holds: what to write, and what to report once it has committed."""

    __slots__ = (
        "actions",
        "checkpoints",
        "finished",
        "heard",
        "live",
        "logged",
        "refused",
        "replacing",
        "spoiled",
        "warnings",
    )

    def __init__(self) -> None:
        self.heard: list[dict[int, Said]] = []  # layers, written one after another
        self.finished: list[Attempt] = []
        self.spoiled: list[Attempt] = []  # those of `finished` that must fail: part of their output was refused
        self.checkpoints: list[StagedCheckpoint] = []
        self.refused: list[tuple[StagedCheckpoint, BaseException]] = []
        self.replacing: dict[Attempt, None] = {}  # the earlier rows of their tasks are deleted first
        self.actions: list[tuple[Any, StagedOutput]] = []  # each with the whole output that it is part of
        self.live: list[Snapshot] = []
        self.logged: list[Attempt] = []  # whose log lines were stored
        self.warnings: list[str] = []

    def tell(self) -> None:
        """Log the warnings, answer the tasks that wait for a checkpoint, and release what is now stored."""
        for warning in self.warnings:
            logger.warning("%s", warning)
        for attempt in self.finished:
            # A user may keep the context, which would hold memory and keep a temporary file open.
            if attempt.staged is not None:
                attempt.staged = None
            if attempt.result is not None:
                attempt.result = None
        for checkpoint in self.checkpoints:
            checkpoint.give(None)
        for checkpoint, error in self.refused:
            checkpoint.fail(error)


def fold(items: Iterable[Any], handled: Container[type]) -> Batch:
    """Fold items into a batch.

    Args:
        items: Attempts, checkpoints, messages or any other objects.
        handled: The types for which the user passed a handler.

    Returns:
        The batch.

    Raises:
        LedgerError: The ``task_id`` of a message is not a number.
    """
    folding = _Fold(handled)
    batch, said = folding.batch, folding.said
    finished = batch.finished
    for item in items:
        kind = type(item)
        if kind is Attempt:
            finished.append(item)
            if item.staged or item.refused is not None or item.replaces:
                folding.end(item)
        elif kind is MsgTaskProgress and (
            words := said.get(item.task_id if type(item.task_id) is int else _NOBODY)
        ):
            if words.finished is None:  # the most frequent message; only the last one counts
                words.progress = item
        elif kind is StagedCheckpoint:
            folding.come_to(item)
        else:
            said = folding.take(item.message if kind is Spoken else item)
    return batch


class _Fold:
    """A batch while it is being folded."""

    def __init__(self, handled: Container[type]) -> None:
        self.batch = Batch()
        self.said: dict[int, Said] = {}
        self._handled = handled
        self._ended: set[Attempt] = set()  # filled only when a checkpoint needs it

    def end(self, attempt: Attempt) -> None:
        """Add the output of an ended attempt, unless part of it was refused before."""
        if attempt.refused is not None and (attempt.status == DONE or attempt.retry_in is not None):
            self.batch.spoiled.append(attempt)
        elif attempt.status == DONE:
            self._put(attempt, attempt.staged or ())

    def come_to(self, checkpoint: StagedCheckpoint) -> None:
        """Add a checkpoint, unless its task has ended.

        The order in the channel decides, not the task's present status.
        """
        self._ended.update(self.batch.finished[len(self._ended) :])  # each attempt comes once in a batch
        if checkpoint.attempt.fenced or checkpoint.attempt in self._ended:
            error = AttemptOverError("the task has ended, so this checkpoint is not stored")
            self.batch.refused.append((checkpoint, error))
        else:
            self.batch.checkpoints.append(checkpoint)
            self._put(checkpoint.attempt, checkpoint.staged)

    def take(self, message: Any) -> dict[int, Said]:
        """Add an item that is neither an attempt nor a checkpoint.

        A subclass of a status message goes to the user's handler if there is one; our own classes never do.
        """
        kind = type(message)
        if kind in _STATUS_MESSAGES or (isinstance(message, _STATUS_MESSAGES) and kind not in self._handled):
            return self.hear(message)
        self._act(message if kind is Blocks else (message,))
        return self.said

    def hear(self, message: MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) -> dict[int, Said]:
        """Fold one status message; a start after another message of its task begins a new layer."""
        number = message.task_id
        if type(number) is not int or not -NUMBER_LIMIT < number < NUMBER_LIMIT:
            number = task_number(number)
        words = self.said.get(number)
        if words is not None and isinstance(message, MsgTaskStarted):
            self.said = {}
            words = None
        if words is None:
            words = self.said[number] = Said()
            if len(self.said) == 1:
                self.batch.heard.append(self.said)
        if isinstance(message, MsgTaskStarted):
            words.started = message
        elif words.finished is not None:
            pass  # the first finish wins, and what comes after it is too late
        elif isinstance(message, MsgTaskProgress):
            words.progress = message
        else:
            words.finished = message
        return self.said

    def _put(self, attempt: Attempt, parts: Sequence[object]) -> None:
        """Queue a task's output for storing; it replaces the task's earlier rows if the attempt says so."""
        if attempt.replaces:
            self.batch.replacing[attempt] = None
        if parts:
            self._act(parts, attempt.task_id)

    def _act(self, parts: Sequence[object], owner: int | None = None) -> None:
        output = StagedOutput(parts, owner)
        self.batch.actions.extend([(part, output) for part in parts])
