"""What crosses between a worker and its run: plain things, none of which acts.

They can be pickled if the user's function, inputs and exceptions can.

::

    run ── Brief, TaskCall ──▶ worker           what to do, for all tasks and for one
    run ◀── progress, LogLine ── worker         left on the task, to be looked at
    run ◀── Question ── worker                  answered by whoever runs the ledger
    run ◀── Outcome ── worker                   how it went, with what it staged
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
"""(step, total, message) as the task said it last."""

Ability: TypeAlias = Literal["live", "logs", "ask", "checkpoint", "kill"]
"""What an executor can do for a task that runs: show its progress and its log lines before it ends, answer its
questions, commit its checkpoints, and end its call from outside."""

NO_PROGRESS: Final[Progress] = (0, None, "")

Output: TypeAlias = "list[Spool | Block | Statement | Stretch | Found]"
"""What a task wrote, in its order: n blocks and stretches of rows, and statements. A spool, if there is one, comes
first; the inputs that it found come last, or are in the spool."""


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
        function: The user's.
        context: The name of the parameter that gets the context; ``""`` for the second one, ``None`` for none.
        keeps_results: What the function returns is the task's result, as JSON.
        retry: When a failed try is followed by another.
        timeout_s: How long a try may take, in seconds.
        run_id: The run's number; ``None`` without ledger tables.
        keyed: The run gives out the row numbers, so that a task's own word on it is not believed.
        alter: Rows add the columns that their table lacks, unless a call says otherwise.
        max_task_bytes: How much one task may stage; may be infinite.
        declared: Table → column → SQL type, of those in ``tables=``, all names folded: what rows in an image are
            converted to; ``None``: the ledger cannot read images.
        spool_in: The directory for what a task stages and memory should not hold; ``None`` is the system's for
            temporary files.
        executor: What the run's executor is called.
        can: What it can do for a task; the context refuses the rest.
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
    """One try of one task, to be performed.

    Args:
        item: The input.
        task_id: The ``id`` of its row, or a negative stand-in.
        key: Its key as stored; ``None`` in a run without keys.
        name: What people call it.
    """

    attempt: int = 1  # the first try of this run
    uncounted: int = 0  # tries before this one that are none of those which the policy allows
    seen_before: bool = False  # its row was on file before this try, so a checkpoint of it may be, too
    state: str | None = None  # its last checkpoint of this run that is on file, JSON

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str) -> None:
        self.item = item
        self.task_id = task_id
        self.key = key
        self.name = name


class RetryDecision(NamedTuple):
    """Whether a failed try is followed by another; made where the class of its exception lives.

    Attributes:
        after_s: After so many seconds, 0 or more; ``None``: it is not.
        counts: This was one of the tries that the policy allows.
        complaint: What went wrong in a function of the policy's, in one line; ``None`` if nothing did.
    """

    after_s: float | None
    counts: bool = True
    complaint: str | None = None


NO_RETRY: Final = RetryDecision(None)

Failed: TypeAlias = tuple[
    BaseException,  # what was raised
    str,  # its traceback
    RetryDecision,
]
Staged: TypeAlias = tuple[
    "Output",
    int,  # rows in there
    int,  # bytes of memory it takes, an estimate: what is in a file takes none
]
Outcome: TypeAlias = tuple[
    "TaskStatus",
    str | None,  # message
    str | None,  # result: JSON, or a worker's own text
    Failed | None,  # of one that raised
    Staged | None,  # of one that is done, and wrote something
    str,  # when it finished
    float,  # how long it took, in seconds
]
"""How a call went. Plain tuples: objects with named fields would cost a tenth of a quick task."""


class Query(NamedTuple):
    """Read from what is committed: answered with rows."""

    sql: str
    params: Params


class StateOf(NamedTuple):
    """What did the task's last checkpoint say? Answered with JSON, or ``None``."""

    task_id: int


class Checkpoint(NamedTuple):
    """Commit what is staged so far together with the state to go on from, now: answered once that is on file.

    Attributes:
        state: JSON.
        output: n blocks and statements, 0 or more; whoever asks does not touch them any more.
        rows: How many rows are in there.
        size: How many bytes of memory they take, an estimate.
    """

    state: str
    output: Output
    rows: int
    size: int


class Stranger(NamedTuple):
    """A message that nobody handles, and that stays where it was said.

    Attributes:
        kind: Its class's name.
        text: It in words.
    """

    kind: str
    text: str


Question: TypeAlias = Query | StateOf | Checkpoint
