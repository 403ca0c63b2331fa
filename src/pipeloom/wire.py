"""The data that a worker and its run exchange.

It can be pickled if the user's function, inputs and exceptions can.

::

    run ── Brief, TaskCall ──▶ worker           what to do, for all tasks and for one
    run ◀── progress, LogLine ── worker         left on the task for the run to read
    run ◀── Question ── worker                  answered by the writer
    run ◀── Outcome ── worker                   the result, with what the task staged
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pipeloom.data.columns import Declared
    from pipeloom.data.found import Found
    from pipeloom.data.image import Stretch
    from pipeloom.data.rows import Block, Statement
    from pipeloom.data.spool import Spool
    from pipeloom.data.values import Params
    from pipeloom.retry import Retry
    from pipeloom.statuses import TaskStatus

__all__ = [
    "NO_PROGRESS",
    "NO_RETRY",
    "Ability",
    "Brief",
    "Checkpoint",
    "Failed",
    "LogLine",
    "Outcome",
    "Output",
    "Progress",
    "Query",
    "Question",
    "RetryDecision",
    "Staged",
    "StateOf",
    "Stranger",
    "TaskCall",
]

Progress: TypeAlias = tuple[float, float | None, str]
"""(step, total, message) as the task last reported it."""

Ability: TypeAlias = Literal["live", "logs", "ask", "checkpoint", "kill"]
"""What an executor can do for a running task: show its progress and its log lines before it ends, answer its
questions, commit its checkpoints, and kill its call."""

NO_PROGRESS: Final[Progress] = (0, None, "")

Output: TypeAlias = "list[Spool | Block | Statement | Stretch | Found]"
"""What a task wrote, in order: n blocks and stretches of rows, and statements. A spool, if there is one, comes
first; the inputs that the task found come last, or are in the spool."""


class LogLine(NamedTuple):
    """One log record of a task."""

    at: str
    level: str
    logger: str
    message: str
    error: str | None


class Brief(NamedTuple):
    """What is the same for all tasks of a run.

    Attributes:
        function: The user's function.
        context: The name of the parameter that receives the context; ``""`` for the second one, ``None`` for none.
        keeps_results: Whether the function's return value is stored as the task's result, in JSON.
        retry: The retry policy; ``None`` for no retries.
        timeout_s: The time limit of an attempt, in seconds; ``None`` for no limit.
        run_id: The run's id; ``None`` without ledger tables.
        keyed: The run assigns the row ids, so an id that a task uses in a message does not change its own.
        alter: Whether rows add the columns that their table lacks, unless a call overrides this.
        max_task_bytes: How much one task may stage, in bytes; may be infinite.
        declared: Table → column → SQL type for the tables in ``tables=``, all names case-folded: what rows in an
            image are converted to. ``None``: the ledger cannot read images.
        spool_in: The directory for staged rows that are too large for memory; ``None`` for the system's directory
            for temporary files.
        executor: The name of the run's executor.
        can: What the executor can do for a task; the context refuses everything else.
        adds_none: Why tasks may not add inputs; ``None`` if they may.
    """

    function: Callable[..., object]
    context: str | None
    keeps_results: bool
    retry: Retry | None
    timeout_s: float | None
    run_id: int | None
    keyed: bool
    alter: bool
    max_task_bytes: float
    declared: Declared | None
    spool_in: str | None
    executor: str
    can: AbstractSet[Ability]
    adds_none: str | None = None


class TaskCall:
    """One attempt of one task, to be performed.

    Args:
        item: The input.
        task_id: The ``id`` of its row, or a negative placeholder.
        key: Its key as stored; ``None`` in a run without keys.
        name: Its display name.
    """

    attempt: int = 1  # counted from 1 in this run
    uncounted: int = 0  # earlier attempts that do not count towards the policy's limit
    seen_before: bool = False  # its row existed before this attempt, so there may be a checkpoint
    state: str | None = None  # its last committed checkpoint of this run, as JSON

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str) -> None:
        self.item = item
        self.task_id = task_id
        self.key = key
        self.name = name


class RetryDecision(NamedTuple):
    """Whether a failed attempt is retried; decided in the process where the class of its exception is defined.

    Attributes:
        after_s: The delay in seconds, 0 or more; ``None`` if the task is not retried.
        counts: Whether the failed attempt counts towards the policy's limit.
        complaint: What a function of the policy raised, in one line; ``None`` if nothing.
    """

    after_s: float | None
    counts: bool = True
    complaint: str | None = None


NO_RETRY: Final = RetryDecision(None)

Failed: TypeAlias = tuple[
    BaseException,  # the exception
    str,  # its traceback
    RetryDecision,
]
Staged: TypeAlias = tuple[
    "Output",
    int,  # number of rows
    int,  # bytes of memory, an estimate; anything in a file counts as 0
]
Outcome: TypeAlias = tuple[
    "TaskStatus",
    str | None,  # message
    str | None,  # result: JSON, or a worker's own text
    Failed | None,  # if the call raised
    Staged | None,  # if the task is done and wrote something
    str,  # when it finished
    float,  # how long it took, in seconds
]
"""The outcome of a call. Plain tuples: objects with named fields would take a tenth of a quick task's time."""


class Query(NamedTuple):
    """Query the committed data; answered with rows."""

    sql: str
    params: Params


class StateOf(NamedTuple):
    """Return the state of the task's last checkpoint; answered with JSON, or ``None``."""

    task_id: int


class Checkpoint(NamedTuple):
    """Commit what is staged so far, together with the state to resume from; answered once it is committed.

    Attributes:
        state: The state, as JSON.
        output: n blocks and statements, 0 or more; the sender does not touch them afterwards.
        rows: The number of rows.
        size: The memory they take in bytes, an estimate.
    """

    state: str
    output: Output
    rows: int
    size: int


class Stranger(NamedTuple):
    """A message that has no handler, so its object stays in the worker's process.

    Attributes:
        kind: The name of its class.
        text: The message as text.
    """

    kind: str
    text: str


Question: TypeAlias = Query | StateOf | Checkpoint
