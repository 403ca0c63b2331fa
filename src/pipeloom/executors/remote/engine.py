"""What runs chunks: somebody's executor, or a cluster; it decides where and when, and knows nothing of tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol, TypeAlias

from pipeloom.executors.remote.forms import Line
from pipeloom.executors.remote.program import Main
from pipeloom.wire import Ability, Progress

__all__ = ["Answered", "Ending", "Engine", "Loss", "Note", "missing_module"]

Answered: TypeAlias = "Callable[[object], None]"
"""Called once with what a chunk has returned, or with the exception that came in its stead; any thread."""


Loss: TypeAlias = Literal["broken", "innocent", "unknown", "begun"]
"""What it means that a chunk did not come back: the engine runs nothing any more; its tasks have nothing to do with
it; nobody knows; the task that it has, if it has one, had begun."""


Ending: TypeAlias = Literal["begin nothing more", "end"]
"""What workers are told when a run is stopped: that no further task is to begin; that those that run should end."""


def missing_module(error: BaseException | None) -> ImportError | None:
    """Return what it was that a worker could not import, of ours, if that is why an error came."""
    while error is not None and not isinstance(error, ImportError):
        error = error.__cause__ or error.__context__
    return error


class Note(NamedTuple):
    """What is seen of a task that runs.

    Attributes:
        number: Of its chunk.
        place: In there, from 0.
        since_s: How long it has run, in seconds.
        progress: What it said last.
        first: How many lines it had logged before these.
        lines: What it has logged since, each with whether somebody has heard it there.
        slow_down_s: For how many seconds more others are to wait, as it said; 0 for not at all.
    """

    number: int
    place: int
    since_s: float
    progress: Progress
    first: int
    lines: Sequence[tuple[Line, bool]]
    slow_down_s: float


class Engine(Protocol):
    """Runs chunks. Unless it says otherwise, what is here is called by the feeder alone, and does not block."""

    @property
    def name(self) -> str:
        """What ``pipeloom_runs`` calls it."""

    @property
    def can(self) -> AbstractSet[Ability]:
        """What it can do for a task."""

    @property
    def main(self) -> Main:
        """How its workers come by the program itself."""

    @property
    def chunk_s(self) -> float:
        """How much work in seconds is worth a message to it."""

    @property
    def workers(self) -> int:
        """How many tasks it runs at once, at least 1; the run's thread, once it is prepared."""

    @property
    def window(self) -> int:
        """How many chunks may be with it at once, at least 1; any thread."""

    def prepare(self) -> None:
        """Get ready what takes time; the run's thread, which this blocks.

        Raises:
            Exception: It is of no use, in a sentence.
        """

    def start(self, token: bytes, seen: Callable[[Note], None]) -> None:
        """Begin with a run.

        Args:
            token: What its workers know it by.
            seen: Called with what is seen of running tasks; any thread.
        """

    def submit(self, number: int, assignment: bytes, order: bytes, answered: Answered) -> None:
        """Have a chunk run; may block while there is no room.

        Args:
            number: Of the chunk.
            assignment: What is the same for all.
            order: The chunk.
            answered: See :data:`Answered`.

        Raises:
            Exception: It takes no more.
        """

    def withdraw(self, number: int) -> bool:
        """Take back a chunk; false when it has begun, or may have. The run's thread."""

    def judge(self, number: int, error: BaseException, *, is_alone: bool) -> Loss:
        """Say what an error means that came in a chunk's stead; the collector.

        Args:
            number: Of the chunk.
            error: What came.
            is_alone: The chunk has one task.
        """

    def look(self) -> None:
        """Do what is to be done now and then; the run's thread, ten times a second."""

    def tell(self, how: Ending) -> bool:
        """Tell workers that the run is ending; false if they cannot be told. The run's thread."""

    def close(self) -> None:
        """Leave ``local=`` in its workers, and let go of what is the run's own; the run's thread.

        Calling twice is fine.
        """
