"""The interface of engines, which run chunks: an executor or a cluster that decides where and when they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple, Protocol, TypeAlias

from pipeloom.executors.remote.forms import Line
from pipeloom.executors.remote.program import Main
from pipeloom.wire import Ability, Progress

__all__ = ["Answered", "Ending", "Engine", "Loss", "Note", "missing_module"]

Answered: TypeAlias = "Callable[[object], None]"
"""Called once with what a chunk returned, or with the exception that replaced it; any thread."""


Loss: TypeAlias = Literal["broken", "innocent", "unknown", "begun"]
"""Why a chunk was lost: the engine can run nothing more; the reason has nothing to do with its tasks; unknown; or
unknown, but the single task in the chunk had started."""


Ending: TypeAlias = Literal["begin nothing more", "end"]
"""What workers are told when a run is stopped: start no further task, or end the running ones as well."""


def missing_module(error: BaseException | None) -> ImportError | None:
    """Return the ImportError behind an error, if a worker could not import something; otherwise ``None``."""
    while error is not None and not isinstance(error, ImportError):
        error = error.__cause__ or error.__context__
    return error


class Note(NamedTuple):
    """A report about a running task.

    Attributes:
        number: The number of its chunk.
        place: Its place in the chunk, from 0.
        since_s: How long it has been running, in seconds.
        progress: The progress that it reported last.
        first: How many lines it had logged before these.
        lines: The lines logged since, each with whether a handler in its process received it.
        slow_down_s: For how many more seconds it asked other tasks to wait; 0 for not at all.
    """

    number: int
    place: int
    since_s: float
    progress: Progress
    first: int
    lines: Sequence[tuple[Line, bool]]
    slow_down_s: float


class Engine(Protocol):
    """Runs chunks. Unless stated otherwise, only the feeder calls these methods, and they do not block."""

    @property
    def name(self) -> str:
        """Its name in ``pipeloom_runs``."""

    @property
    def can(self) -> AbstractSet[Ability]:
        """What it can do for a running task."""

    @property
    def main(self) -> Main:
        """How its workers get the program itself."""

    @property
    def chunk_s(self) -> float:
        """How many seconds of work a chunk should have, to be worth its message."""

    @property
    def workers(self) -> int:
        """How many tasks it runs at once, at least 1; the run's thread, after ``prepare``."""

    @property
    def window(self) -> int:
        """How many chunks it may have at once, at least 1; any thread."""

    def prepare(self) -> None:
        """Start what takes time; blocks the run's thread.

        Raises:
            Exception: It cannot be used; the message says why in one sentence.
        """

    def start(self, token: bytes, seen: Callable[[Note], None]) -> None:
        """Start a run.

        Args:
            token: Identifies the run to its workers.
            seen: Called with reports about running tasks; any thread.
        """

    def submit(self, number: int, assignment: bytes, order: bytes, answered: Answered) -> None:
        """Submit a chunk; may block while the engine has no room.

        Args:
            number: The number of the chunk.
            assignment: What is the same for all chunks.
            order: The chunk.
            answered: See :data:`Answered`.

        Raises:
            Exception: The engine accepts no more chunks.
        """

    def withdraw(self, number: int) -> bool:
        """Take back a chunk; return false if it has or may have started. The run's thread."""

    def judge(self, number: int, error: BaseException, *, is_alone: bool) -> Loss:
        """Return what an error that replaced the result of a chunk means; the collector.

        Args:
            number: The number of the chunk.
            error: The error.
            is_alone: Whether the chunk has a single task.
        """

    def look(self) -> None:
        """Do periodic work; the run's thread, ten times a second."""

    def tell(self, how: Ending) -> bool:
        """Tell the workers that the run is ending; return false if they cannot be told. The run's thread."""

    def close(self) -> None:
        """Exit ``local=`` in its workers, and release what belongs to the run; the run's thread.

        May be called twice.
        """
