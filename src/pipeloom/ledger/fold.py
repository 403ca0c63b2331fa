"""What came through the channel, folded: what of it has to be written, and in which order.

::

    items ─▶ Fold ─▶ Batch: what was said about numbered tasks, the last word of each ▸ tries that ended
                            ▸ checkpoints ▸ users' rows, statements and messages in their order

Nothing here touches the database, nor what is folded: a batch that was lost is folded again, to the same.
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
    """What one task said in a batch, at most one of each kind, in the order start, progress, finish."""

    __slots__ = ("finished", "progress", "started")

    def __init__(self) -> None:
        self.started: MsgTaskStarted | None = None
        self.progress: MsgTaskProgress | None = None
        self.finished: MsgTaskFinished | None = None


class Batch:
    """What one transaction holds: to be written, and told once it has committed."""

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
        self.heard: list[dict[int, Said]] = []  # one after the other
        self.finished: list[Attempt] = []
        self.spoiled: list[Attempt] = []  # of those, what can only be an error: something of theirs was refused
        self.checkpoints: list[StagedCheckpoint] = []
        self.refused: list[tuple[StagedCheckpoint, BaseException]] = []
        self.replacing: dict[Attempt, None] = {}  # what their tasks wrote before goes first
        self.actions: list[tuple[Any, StagedOutput]] = []  # each with the whole output that it is a part of
        self.live: list[Snapshot] = []
        self.logged: list[Attempt] = []  # whose log lines were stored
        self.warnings: list[str] = []

    def tell(self) -> None:
        """Warn of what was refused, answer those who wait for a checkpoint, and let go of what is on file."""
        for warning in self.warnings:
            logger.warning("%s", warning)
        for attempt in self.finished:
            # Somebody may keep its context: memory would be held, and a temporary file stay open.
            if attempt.staged is not None:
                attempt.staged = None
            if attempt.result is not None:
                attempt.result = None
        for checkpoint in self.checkpoints:
            checkpoint.give(None)
        for checkpoint, error in self.refused:
            checkpoint.fail(error)


def fold(items: Iterable[Any], handled: Container[type]) -> Batch:
    """Fold what was said.

    Args:
        items: Attempts, checkpoints, messages, anything.
        handled: Types that a handler of the user's takes.

    Raises:
        LedgerError: A message names its task by something that is no number.
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
            if words.finished is None:  # the most frequent of messages, and only the last one counts
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
        self._ended: set[Attempt] = set()  # made when a checkpoint asks

    def end(self, attempt: Attempt) -> None:
        """Take the output of one that has ended, unless something of it was refused before."""
        if attempt.refused is not None and (attempt.status == DONE or attempt.retry_in is not None):
            self.batch.spoiled.append(attempt)
        elif attempt.status == DONE:
            self._put(attempt, attempt.staged or ())

    def come_to(self, checkpoint: StagedCheckpoint) -> None:
        """Take a checkpoint, unless its task has ended.

        By its place in the channel, not by the status of the moment.
        """
        self._ended.update(self.batch.finished[len(self._ended) :])  # each attempt comes once in a batch
        if checkpoint.attempt.fenced or checkpoint.attempt in self._ended:
            error = AttemptOverError("the task has ended: this is not stored")
            self.batch.refused.append((checkpoint, error))
        else:
            self.batch.checkpoints.append(checkpoint)
            self._put(checkpoint.attempt, checkpoint.staged)

    def take(self, message: Any) -> dict[int, Said]:
        """Take what is neither an attempt nor a checkpoint.

        A status message may be of a class of the user's, which a handler may take; ours are the ledger's.
        """
        kind = type(message)
        if kind in _STATUS_MESSAGES or (isinstance(message, _STATUS_MESSAGES) and kind not in self._handled):
            return self.hear(message)
        self._act(message if kind is Blocks else (message,))
        return self.said

    def hear(self, message: MsgTaskStarted | MsgTaskProgress | MsgTaskFinished) -> dict[int, Said]:
        """Fold one status message; what goes backwards in the order start, progress, finish begins a new layer."""
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
            pass  # the first finish wins, and what comes behind it is too late
        elif isinstance(message, MsgTaskProgress):
            words.progress = message
        else:
            words.finished = message
        return self.said

    def _put(self, attempt: Attempt, parts: Sequence[object]) -> None:
        """Have a task's output stored, in the place of what it wrote before if it says so."""
        if attempt.replaces:
            self.batch.replacing[attempt] = None
        if parts:
            self._act(parts, attempt.task_id)

    def _act(self, parts: Sequence[object], owner: int | None = None) -> None:
        output = StagedOutput(parts, owner)
        self.batch.actions.extend([(part, output) for part in parts])
