"""One try of one task, as the run and the ledger have it.

While it runs, its worker is its author, and the writer looks at it for the live state. Its end is noted once. When
it comes through the channel, finished, the writer takes it over: it may refuse what was staged, and gives it its
number. What the writer notes on it holds only if what it wrote about it is committed.
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
"""What is known of its row: "new", its id was given out for it, so none can be there yet; "old", one may be there;
"provisional", its id is a negative stand-in until its worker says a number or it ends; "none", it has no row of its
own, since its key's or number's row belongs to another task."""


class Attempt(Task):
    """A task with its outcome, and what the writer notes on it.

    Args:
        item: The input.
        task_id: The ``id`` of its row, or a negative stand-in.
        key: Its key as stored; ``None`` in a run without keys.
        name: What people call it.
        row: What is known of its row.
    """

    input: str | None = None  # what its key is a digest of, see `known_as`
    version: StoredVersion | None = None  # of its input, as it was when that was read
    # Its outcome:
    staged: Output | None = None
    rows_written: int = 0  # by its end; what its checkpoints stored is in rows_kept
    finished_at: str | None = None
    elapsed_s: float | None = None
    message: str | None = None
    result: str | None = None
    error: str | None = None
    exception: BaseException | None = None
    exception_type: str | None = None  # kept when the exception itself is not
    kind: Kind | None = None  # of one that did not end well, once it was stored
    # What the run makes of it:
    retry_in: float | None = None  # another try follows after so many seconds, once this one is committed
    given_up: bool = False  # its time was over, and its call had not returned
    returned: bool = False  # that call has returned since
    waited: bool = False  # was to be tried again, and the run ended first: this is its last word
    ticket: Any = None  # what it counts for in the run's limits, once they were asked
    # The writer's notes on what is in the ledger; set in its transaction (`Transaction.note`), or not at all:
    rows_kept: int = 0  # stored by its checkpoints
    lines_kept: int = 0  # of `logs`, those at its head: dropped after the commit
    has_state: bool = False  # it came to a checkpoint
    replaces: bool = False  # its first rows, or its "done", take the place of all rows that its task has
    fenced: bool = False  # its end has come through the channel: a checkpoint behind it is too late
    recorded: tuple[int, str | None] | None = None  # the (id, start) under which a row is in the ledger
    shown: Progress = NO_PROGRESS  # the progress that the ledger has
    refused: BaseException | None = None  # what it refused of this task, which then cannot be done
    is_unshowable: bool = False  # its row was refused while it ran: nobody tries that again before its end

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str, row: Row) -> None:
        self.item = item
        self.task_id = task_id
        self.key = key
        self.name = name
        self.row = row

    def failed(self, exception: BaseException, message: str, error: str) -> dict[str, object]:
        """Return the outcome of one that is refused: an error, and nothing that was staged will be stored."""
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
        """Return what it looks like now; any thread."""
        return Snapshot(self, self.task_id, self.started_at, self.progress)

    @property
    def known_as(self) -> Any:
        """What its caller knows it by: the input or what ``key=`` returned, its number, or at least its name."""
        if self.key is not None:
            return known_as(self.key, self.input)
        return self.task_id or self.name

    def next_try(self) -> Attempt:
        """Return the try that follows this one, for the same row."""
        following = Attempt(self.item, self.task_id, self.key, self.name, "old" if self.row == "new" else self.row)
        following.input = self.input
        following.attempt = self.attempt + 1
        following.uncounted = self.uncounted
        following.version = self.version
        following.replaces = self.replaces  # unless a checkpoint has done so: then it goes on from there
        following.seen_before = following.row == "old" and self.key is not None and not self.replaces
        following.state = self.state
        following.weight = slots_for(weigh(self.item))  # of this one, that is no more: it has an outcome
        following.recorded = (self.task_id, None)
        return following

    def to_begin(self) -> Attempt:
        """Return the try that may begin now: this one, or the one that follows if this has failed."""
        if self.retry_in is None:
            return self
        following = self.next_try()
        following.ticket, self.ticket = self.ticket, None
        return following


def is_spooled(item: object) -> bool:
    """Say whether what a task wrote was too much for memory: storing it takes as long as everything else."""
    if type(item) is not Attempt and type(item) is not StagedCheckpoint:
        return False
    staged = item.staged
    return staged is not None and len(staged) > 0 and type(staged[0]) is Spool


class StagedCheckpoint(Answer[None]):
    """A checkpoint on its way to the ledger, and the answer that its task waits for.

    Args:
        attempt: Whose it is.
        staged: n blocks and statements, 0 or more; this object owns them.
        state: JSON.
        rows: How many rows are in ``staged``.
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
    """A running attempt as it looked at one moment."""

    attempt: Attempt
    task_id: int
    started_at: str | None
    progress: Progress
