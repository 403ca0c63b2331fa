"""What runs chunks: somebody's executor, or a cluster; it decides where and when, and knows nothing of tasks."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeAlias

from pipeloom.executors.remote.program import Main
from pipeloom.wire import Ability

__all__ = ["Answered", "Engine"]

Answered: TypeAlias = "Callable[[object], None]"
"""Called once with what a chunk has returned, or with the exception that came in its stead; any thread."""


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
    def window(self) -> int:
        """How many chunks may be with it at once, at least 1; any thread."""

    def prepare(self) -> None:
        """Get ready what takes time; the run's thread, which this blocks.

        Raises:
            Exception: It is of no use, in a sentence.
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

    def has_begun(self, number: int) -> bool | None:
        """Say whether the task of a chunk that was lost had begun; ``None`` if nobody knows. The collector."""

    def is_broken_by(self, error: BaseException) -> bool:
        """Say whether an error that came in a chunk's stead means that no other chunk will fare better."""

    def look(self) -> None:
        """Do what is to be done now and then; the run's thread, ten times a second."""

    def tell_to_end(self) -> bool:
        """Tell the tasks that run that they should end; false if they cannot be told. The run's thread."""

    def close(self) -> None:
        """Let go of what is the run's own; the run's thread. Calling twice is fine."""
