"""One try of one task: the record that the engine, the task's context and the writer share.

While it runs, the worker is its author; the writer reads it at any time for the live state (an attribute of a
Python object is replaced as a whole, so it never sees half a value). Its end is noted by the worker or, past its
time limit, by the engine, whoever is first. When it comes through the channel, finished, the writer takes it over:
it may refuse what was staged, and gives it its number.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pipeloom.data.clock import utc_now
from pipeloom.ledger.answer import Answer

if TYPE_CHECKING:
    from collections import deque

    from pipeloom.data.rows import Block, Statement
    from pipeloom.messages import MsgTaskFinished

__all__ = ["Attempt", "Checkpoint", "Glimpse", "LogLine", "Spoken", "fraction"]

Row = Literal["new", "old", "provisional", "none"]
"""What is known of its row: "new", its id was given out for it, so none can be there yet; "old", one may be there;
"provisional", its id is a negative stand-in until its worker says a number or it ends; "none", it has no row of its
own, since its key's or number's row belongs to another task."""

Cell = tuple[float, float | None, str]
"""(step, total, message) as the task said it last."""

NO_PROGRESS: Final[Cell] = (0, None, "")

_BYTES_PER_WEIGHT: Final = 64 * 1024


def fraction(step: float, total: float | None) -> float:
    """Return ``step/total`` within 0..1; 0 when there is no total to speak of.

    Raises:
        TypeError: One of them is no number.
    """
    if not total or not total > 0:
        return 0.0
    share = step / total
    return 1.0 if share > 1.0 else share if share > 0.0 else 0.0


class Attempt:
    """What is known of one try.

    Most attributes are defaults of the class until they are set: a quick task sets few of them, and building an
    attempt is on the hottest path there is.
    """

    attempt: int = 1  # the first try of this run
    status: str = "queued"
    cell: Cell = NO_PROGRESS
    staged: list[Block | Statement] | None = None
    staged_bytes: int = 0  # an estimate, from one row in so many
    unweighed: int = 0
    weigh_every: int = 1
    staging: threading.RLock | None = None  # guards what is staged, where several threads may write
    deadline: float | None = None  # by the monotonic clock
    state: str | None = None  # its last checkpoint of this run that is on file, JSON; the writer's to say
    logs: deque[LogLine] | None = None  # what it logged and the ledger does not have yet
    logged: int = 0  # how many records were kept,
    unkept: int = 0  # and how many since were not
    number_said: int | None = None  # the task's id as the worker itself called it, once it did
    said_finish: MsgTaskFinished | None = None  # the worker's own, held until the function returns
    worker: str | None = None
    started_at: str | None = None
    t0: float = 0.0
    finished_at: str | None = None
    elapsed_s: float | None = None
    message: str | None = None
    result: str | None = None
    error: str | None = None
    exception: BaseException | None = None
    exception_type: str | None = None  # kept when the exception itself is not
    rows_written: int = 0  # by its end; what its checkpoints stored is in rows_kept
    # Another try follows after so many seconds, once this one is committed; its item is kept for it.
    retry_in: float | None = None
    given_up: bool = False  # its time was over, and its call had not returned
    returned: bool = False  # that call has returned since
    waited: bool = False  # was to be tried again, and the run ended first: this is its last word
    # The writer's notes:
    rows_kept: int = 0  # stored by its checkpoints
    fenced: bool = False  # its end has come through the channel: a checkpoint behind it is too late
    recorded: tuple[int, str | None] | None = None  # the (id, start) under which a row is in the ledger
    shown: Cell = NO_PROGRESS  # the cell that the ledger has
    refused: BaseException | None = None  # what it refused of this task, which then cannot be done

    def __init__(self, item: Any, task_id: int, key: str | int | None, name: str, row: Row) -> None:
        self.item = item
        self.task_id = task_id
        self.key = key
        self.name = name
        self.row = row

    def fail(self, exception: BaseException, message: str, error: str) -> None:
        """Turn the outcome into an error: nothing that was staged will be stored."""
        self.status = "error"
        self.exception = exception
        self.message = message
        self.error = error
        self.result = None
        self.staged = None
        self.rows_written = 0
        self.retry_in = None
        if self.finished_at is None:
            self.started_at = self.finished_at = utc_now()

    def before(self, *, has_ended: bool) -> dict[str, Any]:
        """Return what the writer may make of it, to come back to with ``restore``; the writer's thread.

        Args:
            has_ended: It was handed over. Until then its outcome, and what it stages, are its worker's to write, at
                any time.
        """
        return {name: getattr(self, name) for name in (_NOTES + _OUTCOME if has_ended else _NOTES)}

    def restore(self, before: dict[str, Any]) -> None:
        """Undo what the writer made of it in a transaction that was rolled back."""
        for name, value in before.items():
            setattr(self, name, value)

    def glimpse(self) -> Glimpse:
        """Return what it looks like now; any thread."""
        return Glimpse(self, self.task_id, self.started_at, self.cell)

    def next_try(self) -> Attempt:
        """Return the try that follows this one, for the same row."""
        following = Attempt(self.item, self.task_id, self.key, self.name, "old" if self.row == "new" else self.row)
        following.attempt = self.attempt + 1
        following.state = self.state
        following.recorded = (self.task_id, None)
        return following

    @property
    def weight(self) -> int:
        """How much of the channel it takes: a message, and one more per 8 staged rows or 64 KiB of them."""
        return 1 if self.staged is None else weight_of(self.rows_written, self.staged_bytes)


_NOTES: Final = ("refused", "recorded", "shown", "rows_kept")
_OUTCOME: Final = (
    "status", "exception", "message", "error", "result", "staged", "rows_written", "retry_in", "started_at",
    "finished_at", "row",
)  # fmt: skip


def weight_of(rows: int, size: int) -> int:
    """Return how much of the channel n staged rows of so many bytes take."""
    return 1 + max(rows // 8, size // _BYTES_PER_WEIGHT)


class LogLine(NamedTuple):
    """One log record of a task."""

    at: str
    level: str
    logger: str
    message: str
    error: str | None


class Checkpoint(Answer):
    """What a task has staged so far, with the state to go on from: to be committed together, now.

    Args:
        attempt: Whose it is.
        staged: n blocks and statements, 0 or more; this object owns them.
        state: JSON.
        rows: How many rows are in ``staged``.
    """

    __slots__ = ("attempt", "is_late", "rows", "staged", "state")

    def __init__(self, attempt: Attempt, staged: list[Block | Statement], state: str, rows: int) -> None:
        super().__init__()
        self.attempt = attempt
        self.staged = staged
        self.state = state
        self.rows = rows
        self.is_late: bool | None = None  # put behind its attempt's end; known once the writer has seen it


class Spoken(NamedTuple):
    """A message that a task sent through its context."""

    attempt: Attempt
    message: Any


class Glimpse(NamedTuple):
    """A running attempt as it looked at one moment."""

    attempt: Attempt
    task_id: int
    started_at: str | None
    cell: Cell
