"""Where a run's tasks speak to, and which task is running here."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from pipeloom.ledger import Ledger
from pipeloom.ledger.answer import Answer
from pipeloom.ledger.attempt import Attempt
from pipeloom.writer.channel import Channel

__all__ = ["Port", "enter", "enter_run", "present_run", "running_attempt"]


class Port:
    """Where a run's tasks speak to; one per run, shared by all its workers.

    Args:
        channel: To the writer.
        ask: Has a function run on the ledger in the writer's thread.
        keyed: The run gives out the row numbers.
        max_task_bytes: How much one task may stage.
    """

    __slots__ = ("ask", "cancelling", "channel", "keyed", "max_task_bytes", "run_id")

    def __init__(
        self,
        channel: Channel[Any],
        ask: Callable[[Callable[[Ledger], Any]], Answer],
        run_id: int | None,
        *,
        keyed: bool,
        max_task_bytes: float,
    ) -> None:
        self.channel = channel
        self.ask = ask
        self.run_id = run_id
        self.keyed = keyed
        self.max_task_bytes = max_task_bytes
        self.cancelling = False


_current: ContextVar[Attempt | None] = ContextVar("pipeloom_task", default=None)
_port: ContextVar[Port] = ContextVar("pipeloom_port")


def present_run() -> Port:
    """Return the run that the task here belongs to; only where one is running."""
    return _port.get()


def running_attempt() -> Attempt | None:
    """Return the attempt that is running here, anywhere below its function; ``None`` elsewhere."""
    return _current.get()


def enter_run(port: Port) -> None:
    """Make this the run of the calling worker thread."""
    _port.set(port)


enter: Final = _current.set
"""Make an attempt, or ``None``, the current task of the calling worker thread."""
