"""What a task in a chunk holds: what it says is kept until its chunk comes back."""

from __future__ import annotations

from time import monotonic

from pipeloom.errors import LedgerError
from pipeloom.executors.remote.chunks import Spoken, freight_of
from pipeloom.executors.remote.forms import Line
from pipeloom.executors.remote.messages import said
from pipeloom.wire import Brief, LogLine, Question
from pipeloom.worker.link import Look, Reply
from pipeloom.worker.logs import is_heard_here
from pipeloom.worker.task import Task

__all__ = ["ChunkLink", "ChunkTask"]


class ChunkLink:
    """What the tasks of a chunk hold: what they say is kept until the chunk has ended.

    Args:
        brief: What is the same for all tasks of the run.
        kinds: The messages that somebody handles.
    """

    cancelling = False

    def __init__(self, brief: Brief, kinds: frozenset[str]) -> None:
        self.brief = brief
        self._kinds = kinds

    def ask(self, task: Task, question: Question, look: Look) -> Reply:  # noqa: ARG002 - it is refused
        """Refuse a question: the context has done so before, by what the executor can."""
        raise LedgerError(f"a task on {self.brief.executor} cannot reach the ledger before it ends")

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:  # noqa: ARG002 - nothing waits
        """Keep a message."""
        assert isinstance(task, ChunkTask)
        word, luggage = said(0, message, self._kinds)
        task.spoken.append(Spoken(word, freight_of(luggage)))

    def slow_down(self, task: Task, seconds: float) -> None:
        """Keep until when others are to wait."""
        assert isinstance(task, ChunkTask)
        task.slow_until = max(task.slow_until, monotonic() + seconds)

    def backlog(self) -> tuple[int, int]:
        """Say that nothing waits, as far as is known here."""
        return 0, 1


class ChunkTask(Task):
    """A task in a chunk: what its run should know is kept with it.

    Attributes:
        spoken: Its messages.
        lines: What it logged, each with whether somebody has heard it here.
        slow_until: When others may begin again, as it said, by ``time.monotonic``.
    """

    slow_until = 0.0

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str, *, is_elsewhere: bool) -> None:
        super().__init__(item, task_id, key, name)
        self.has_run_elsewhere = is_elsewhere
        self.spoken: list[Spoken] = []
        self.lines: list[tuple[Line, bool]] = []

    @property
    def slow_down_s(self) -> float:
        """For how many seconds more others are to wait; 0 for not at all."""
        return max(0.0, self.slow_until - monotonic()) if self.slow_until else 0.0

    @property
    def logs(self) -> _Lines:  # type: ignore[override]  # only what is appended to it
        """Where its log lines go."""
        return _Lines(self)


class _Lines:
    """Log lines on their way: none waits here to be taken, so that all are kept that may be."""

    def __init__(self, task: ChunkTask) -> None:
        self._task = task

    def __len__(self) -> int:
        return 0

    def append(self, line: LogLine) -> None:
        """Keep one."""
        heard = not self._task.has_run_elsewhere or is_heard_here(line.logger)
        self._task.lines.append(((line.at, line.level, line.logger, line.message, line.error), heard))
