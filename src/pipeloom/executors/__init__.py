"""Where workers live: one protocol, and its implementations."""

from __future__ import annotations

from pipeloom.executors.base import Desk, Executor, T
from pipeloom.executors.threads import ThreadExecutor

__all__ = ["Desk", "Executor", "executor_of"]


def executor_of(workers: int) -> Executor[T]:
    """Return an executor for so many workers, at least 1."""
    return ThreadExecutor(workers)
