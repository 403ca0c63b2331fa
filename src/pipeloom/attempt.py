"""One try of one task: the record that the engine, the task's context and the writer share.

The worker that runs the task is its only author. The writer reads it at any time for the live state (an
attribute of a Python object is replaced as a whole, so it never sees half a value) and takes it over when it
comes through the channel, finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from pipeloom.messages import MsgTaskFinished
    from pipeloom.rows import Block

__all__ = ["FINAL_STATUSES", "Attempt", "Glimpse", "fraction"]

FINAL_STATUSES: Final = frozenset({"done", "error", "cancelled", "timed_out", "interrupted"})

Row = Literal["new", "old", "none"]
"""Whether its id was given out for it, so that no row can have it yet; may have a row already; or it has no
row of its own, since its key's row belongs to another task."""

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
    """What is known of one try. Attributes in the order in which they come to be."""

    __slots__ = (
        "attempt",  # 1 for the first try of this run
        "cell",
        "elapsed_s",
        "error",
        "exception",
        "finished_at",
        "item",
        "key",
        "message",
        "name",
        "number_said",  # the task's id as the worker itself called it, once it did
        "recorded",  # writer: the (id, start) under which a row is in the ledger; None before
        "refused",  # writer: what it refused of this task, which then cannot be done
        "result",
        "row",  # see Row
        "rows_written",
        "said_finish",  # the worker's own MsgTaskFinished, held until the function returns
        "shown",  # writer: the cell that the ledger has
        "staged",
        "started_at",
        "status",
        "t0",
        "task_id",
        "worker",
    )

    def __init__(self, item: Any, task_id: int, key: str | int | None, name: str, row: Row) -> None:
        self.item = item
        self.row = row
        self.task_id = task_id
        self.key = key
        self.name = name
        self.attempt = 1
        self.status = "queued"
        self.cell: Cell = NO_PROGRESS
        self.shown: Cell = NO_PROGRESS
        self.staged: list[Block | tuple[str, Any]] | None = None
        self.number_said: int | None = None
        self.said_finish: MsgTaskFinished | None = None
        self.recorded: tuple[int, str | None] | None = None
        self.refused: BaseException | None = None
        self.exception: BaseException | None = None
        self.worker: str | None = None
        self.started_at: str | None = None
        self.finished_at: str | None = None
        self.elapsed_s: float | None = None
        self.message: str | None = None
        self.result: str | None = None
        self.error: str | None = None
        self.rows_written = 0
        self.t0 = 0.0

    def fail(self, exception: BaseException, message: str, error: str) -> None:
        """Turn the outcome into an error: nothing that was staged will be stored."""
        self.status = "error"
        self.exception = exception
        self.message = message
        self.error = error
        self.result = None
        self.staged = None
        self.rows_written = 0

    def glimpse(self) -> Glimpse:
        """Return what it looks like now; any thread."""
        return Glimpse(self, self.task_id, self.started_at, self.cell)

    @property
    def weight(self) -> int:
        """How much of the channel it takes: a message, and one more per 64 staged rows."""
        return 1 if self.staged is None else 1 + self.rows_written // 64


class Glimpse(NamedTuple):
    """A running attempt as it looked at one moment."""

    attempt: Attempt
    task_id: int
    started_at: str | None
    cell: Cell
