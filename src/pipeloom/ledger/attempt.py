"""One attempt of one task, as used by the run and the ledger.

While it runs, its worker changes it, and the writer reads its live state. Its end is recorded once. When it arrives
through the channel, finished, the writer owns it: the writer assigns its number and may refuse what was staged.
The writer's notes on it are undone if the transaction in which they were made is rolled back.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pipeloom.data.clock import utc_now
from pipeloom.data.keys import known_as
from pipeloom.data.kinds import Kind
from pipeloom.data.spool import Spool
from pipeloom.data.versions import StoredVersion
from pipeloom.data.weights import slots_for, weigh
from pipeloom.statuses import ERROR
from pipeloom.wire import NO_PROGRESS, Output, Progress
from pipeloom.worker.answer import Answer
from pipeloom.worker.task import Task

__all__ = ["Attempt", "Snapshot", "Spoken", "StagedCheckpoint", "is_spooled"]

Row = Literal["new", "old", "provisional", "none"]
"""What is known of an attempt's row.

"new": its id was allocated for it, so the row cannot exist yet. "old": the row may exist. "provisional": its id is
negative until its worker sends a number or it ends. "none": it has no row, since the row of its key or number
belongs to another task."""


class Attempt(Task):
    """A task with its outcome and the writer's notes.

    Args:
        item: The input.
        task_id: The ``id`` of its row, or a negative provisional id.
        key: Its key as stored; ``None`` in a run without keys.
        name: Its name on screens and in the ledger.
        row: What is known of its row.
    """

    input: str | None = None  # the text that its key is a digest of, see `known_as`
    version: StoredVersion | None = None  # of its input, when the input was read
    # Its outcome:
    staged: Output | None = None
    rows_written: int = 0  # stored with its end; rows stored by its checkpoints are in rows_kept
    finished_at: str | None = None
    elapsed_s: float | None = None
    message: str | None = None
    result: str | None = None
    error: str | None = None
    exception: BaseException | None = None
    exception_type: str | None = None  # kept when the exception itself is not
    kind: Kind | None = None  # of a failed attempt, once it was stored
    # What the run decides about it:
    retry_in: float | None = None  # another attempt follows after this many seconds, once this one is committed
    given_up: bool = False  # its time limit had passed, and its call had not returned
    returned: bool = False  # that call has returned since
    waited: bool = False  # waited for a retry when the run ended: this is its final outcome
    ticket: Any = None  # its share of the run's limits, once they admitted it
    # The writer's notes on what is in the ledger; only set through its transaction (`Transaction.note`):
    rows_kept: int = 0  # stored by its checkpoints
    lines_kept: int = 0  # how many lines at the head of `logs` are stored: dropped after the commit
    has_state: bool = False  # it reached a checkpoint
    replaces: bool = False  # its first rows, or its "done", replace all rows that its task has
    fenced: bool = False  # its end has come through the channel: a later checkpoint is too late
    recorded: tuple[int, str | None] | None = None  # the (id, start) of its row in the ledger
    shown: Progress = NO_PROGRESS  # the progress stored in the ledger
    refused: BaseException | None = None  # why part of its output was refused; the task then cannot be done
    is_unshowable: bool = False  # its row was refused while it ran: not written again before its end

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str, row: Row) -> None:
        self.item = item
        self.task_id = task_id
        self.key = key
        self.name = name
        self.row = row

    def failed(self, exception: BaseException, message: str, error: str) -> dict[str, object]:
        """Return the outcome of a refused attempt: an error, and nothing that was staged is stored."""
        outcome: dict[str, object] = {
            "status": ERROR,
            "exception": exception,
            "message": message,
            "error": error,
            "result": None,
            "staged": None,
            "rows_written": 0,
            "retry_in": None,
        }
        if self.finished_at is None:
            outcome["started_at"] = outcome["finished_at"] = utc_now()
        return outcome

    def snapshot(self) -> Snapshot:
        """Return its present state; any thread."""
        return Snapshot(self, self.task_id, self.started_at, self.progress)

    @property
    def known_as(self) -> Any:
        """What the caller knows it by: the input or what ``key=`` returned, else its number, else its name."""
        if self.key is not None:
            return known_as(self.key, self.input)
        return self.task_id or self.name

    def next_try(self) -> Attempt:
        """Return the attempt that follows this one, with the same row."""
        following = Attempt(self.item, self.task_id, self.key, self.name, "old" if self.row == "new" else self.row)
        following.input = self.input
        following.attempt = self.attempt + 1
        following.uncounted = self.uncounted
        following.version = self.version
        following.replaces = self.replaces  # false once a checkpoint replaced them: it continues from there
        following.seen_before = following.row == "old" and self.key is not None and not self.replaces
        following.state = self.state
        following.weight = slots_for(weigh(self.item))  # of the input: this attempt's is now that of its outcome
        following.recorded = (self.task_id, None)
        return following

    def to_begin(self) -> Attempt:
        """Return the attempt that may begin now: this one, or the next one if this one has failed."""
        if self.retry_in is None:
            return self
        following = self.next_try()
        following.ticket, self.ticket = self.ticket, None
        return following


def is_spooled(item: object) -> bool:
    """Return whether a task's output is in a temporary file; storing it takes as long as a whole batch."""
    if type(item) is not Attempt and type(item) is not StagedCheckpoint:
        return False
    staged = item.staged
    return staged is not None and len(staged) > 0 and type(staged[0]) is Spool


class StagedCheckpoint(Answer[None]):
    """A checkpoint on its way to the ledger, and the reply that its task waits for.

    Args:
        attempt: The attempt that reached it.
        staged: n blocks and statements, 0 or more; this object owns them.
        state: The state to continue from, as JSON.
        rows: The number of rows in ``staged``.
    """

    __slots__ = ("attempt", "rows", "staged", "state")

    def __init__(self, attempt: Attempt, staged: Output, state: str, rows: int) -> None:
        super().__init__()
        self.attempt = attempt
        self.staged = staged
        self.state = state
        self.rows = rows


class Spoken(NamedTuple):
    """A message that a task sent through its context."""

    attempt: Attempt
    message: object


class Snapshot(NamedTuple):
    """The state of a running attempt at one moment."""

    attempt: Attempt
    task_id: int
    started_at: str | None
    progress: Progress
