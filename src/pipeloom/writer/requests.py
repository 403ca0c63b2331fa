"""What the writer is asked: a function on the ledger, run in its thread between two batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipeloom.ledger import Ledger
from pipeloom.worker.answer import Answer

__all__ = ["EarlyRequest", "Request"]

T = TypeVar("T")


class Request(Answer[T]):
    """Answered once everything that was said before it is committed."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[Ledger], T]) -> None:
        super().__init__()
        self.function = function

    def give(self, value: T) -> None:
        """Hand over the value; the function is let go of, which may refer to this very request."""
        del self.function
        super().give(value)


class EarlyRequest(Request[T]):
    """Answered at once: it does not depend on what was said before and is not committed yet."""

    __slots__ = ()
