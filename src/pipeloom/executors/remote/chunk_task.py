"""The link and the class of tasks in a chunk: what they send is kept until the chunk returns."""

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
    """The link of the tasks in a chunk: what they send is kept until the chunk has ended.

    Args:
        brief: What is the same for all tasks of the run.
        kinds: The names of the message classes that have handlers.
    """

    cancelling = False

    def __init__(self, brief: Brief, kinds: frozenset[str]) -> None:
        self.brief = brief
        self._kinds = kinds

    def ask(self, task: Task, question: Question, look: Look) -> Reply:  # noqa: ARG002 - it always raises
        """Refuse a question; the context should already have done so, based on the executor's abilities."""
        raise LedgerError(f"a task on {self.brief.executor} cannot reach the ledger before it ends")

    def say(self, task: Task, message: object, look: Look, *, block: bool, timeout: float | None) -> None:  # noqa: ARG002 - nothing waits
        """Keep a message."""
        assert isinstance(task, ChunkTask)
        word, luggage = said(0, message, self._kinds)
        task.spoken.append(Spoken(word, freight_of(luggage)))

    def slow_down(self, task: Task, seconds: float) -> None:
        """Record until when other tasks must wait."""
        assert isinstance(task, ChunkTask)
        task.slow_until = max(task.slow_until, monotonic() + seconds)

    def backlog(self) -> tuple[int, int]:
        """Return that nothing is waiting, since that is not known here."""
        return 0, 1


class ChunkTask(Task):
    """A task in a chunk; what its run should know is kept on it.

    Attributes:
        spoken: Its messages.
        lines: Its log lines, each with whether a handler in this process received it.
        slow_until: Until when it asked other tasks to wait, by ``time.monotonic``.
    """

    slow_until = 0.0

    def __init__(self, item: object, task_id: int, key: str | int | None, name: str, *, is_elsewhere: bool) -> None:
        super().__init__(item, task_id, key, name)
        self.has_run_elsewhere = is_elsewhere
        self.spoken: list[Spoken] = []
        self.lines: list[tuple[Line, bool]] = []

    @property
    def slow_down_s(self) -> float:
        """For how many more seconds other tasks must wait; 0 for not at all."""
        return max(0.0, self.slow_until - monotonic()) if self.slow_until else 0.0

    @property
    def logs(self) -> _Lines:  # type: ignore[override]  # only what is appended to it
        """The list-like object that its log lines are appended to."""
        return _Lines(self)


class _Lines:
    """Stores log lines with their task; always looks empty, so that no line is dropped for waiting here."""

    def __init__(self, task: ChunkTask) -> None:
        self._task = task

    def __len__(self) -> int:
        return 0

    def append(self, line: LogLine) -> None:
        """Keep a line."""
        heard = not self._task.has_run_elsewhere or is_heard_here(line.logger)
        self._task.lines.append(((line.at, line.level, line.logger, line.message, line.error), heard))
