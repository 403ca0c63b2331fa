"""A value that one thread waits for and another provides."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["LOOK_S", "Answer"]

T = TypeVar("T")

LOOK_S: Final = 0.25
"""Seconds between two checks, while waiting, of whether the answer is still needed."""


class Answer(Generic[T]):
    """An answer that the consumer provides once; awaited in one other thread, or on an event loop.

    Attributes:
        is_abandoned: Nothing waits for it any more.
    """

    __slots__ = ("_error", "_given", "_then", "_value", "is_abandoned")

    def __init__(self) -> None:
        self._given = threading.Event()
        self._value: T
        self._error: BaseException | None = None
        self._then: Callable[[], object] | None = None
        self.is_abandoned = False

    @property
    def is_given(self) -> bool:
        """Whether the answer has been given; any thread."""
        return self._given.is_set()

    def give(self, value: T) -> None:
        """Provide the value."""
        self._value = value
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Raise an error in the thread that waits, unless the answer has been given."""
        if not self._given.is_set():
            self._error = error
            self._wake()

    def _wake(self) -> None:
        self._given.set()
        if self._then is not None:
            self._then()

    def when_given(self, call: Callable[[], object]) -> None:
        """Register a function to be called once the answer is given, for code that cannot block.

        Args:
            call: Called in the consumer's thread, or here if the answer has already been given. May be called
                twice; must not raise.
        """
        self._then = call  # before checking: the consumer answers first and reads this second
        if self._given.is_set():
            call()

    def result(self, look: Callable[[], object] | None = None) -> T:
        """Block until the answer is given.

        Args:
            look: Called four times a second while waiting; raises to stop waiting.

        Returns:
            The value.

        Raises:
            BaseException: The error passed to ``fail``, or whatever ``look`` raises.
        """
        while not self._given.wait(None if look is None else LOOK_S):
            assert look is not None
            try:
                look()
            except BaseException:
                self.is_abandoned = True
                raise
        if self._error is not None:
            raise self._error
        return self._value
