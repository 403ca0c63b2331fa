"""Requests to the writer: functions of the ledger that run in its thread between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipeloom.ledger import Ledger
from pipeloom.worker.answer import Answer

__all__ = ["EarlyRequest", "Request"]

T = TypeVar("T")


class Request(Answer[T]):
    """Answered once everything sent before it is committed."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Ledger], T]) -> None:
        super().__init__()
        self.function = function

    def give(self, value: T) -> None:
        """Provide the value, and drop the function, which may refer to this request."""
        del self.function
        super().give(value)


class EarlyRequest(Request[T]):
    """Answered at once, since it does not depend on uncommitted items sent before it."""

    __slots__ = ()
