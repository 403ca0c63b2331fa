"""One try of one task: the record that the engine, the task's context and the writer share.

The worker that runs the task is its only author. The writer reads it at any time for the live state (an
attribute of a Python object is replaced as a whole, so it never sees half a value) and takes it over when it
comes through the channel, finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from pipeloom.clock import utc_now

if TYPE_CHECKING:
    from pipeloom.messages import MsgTaskFinished
    from pipeloom.rows import Block, Statement

__all__ = ["Attempt", "Glimpse", "Spoken", "fraction"]

Row = Literal["new", "old", "provisional", "none"]
"""What is known of its row: "new", its id was given out for it, so none can be there yet; "old", one may be there;
"provisional", its id is a negative stand-in until its worker says a number or it ends; "none", it has no row of its
own, since its key's or number's row belongs to another task."""

Cell = tuple[float, float | None, str]
"""(step, total, message) as the task said it last."""

NO_PROGRESS: Final[Cell] = (0, None, "")


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
    rows_written: int = 0
    # The writer's notes:
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
        if self.finished_at is None:
            self.started_at = self.finished_at = utc_now()

    def glimpse(self) -> Glimpse:
        """Return what it looks like now; any thread."""
        return Glimpse(self, self.task_id, self.started_at, self.cell)

    @property
    def weight(self) -> int:
        """How much of the channel it takes: a message, and one more per 8 staged rows."""
        return 1 if self.staged is None else 1 + self.rows_written // 8


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
