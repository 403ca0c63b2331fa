"""What one thread waits for, and another one gives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["LOOK_S", "Answer"]

T = TypeVar("T")

LOOK_S: Final = 0.25
"""Between two looks of somebody who waits, for whether it is still worth waiting."""


class Answer(Generic[T]):
    """What somebody waits for: given once, by the consumer; awaited in one other thread, or on an event loop."""

    __slots__ = ("_error", "_given", "_then", "_value", "is_abandoned")

    def __init__(self) -> None:
        self._given = threading.Event()
        self._value: T
        self._error: BaseException | None = None
        self._then: Callable[[], object] | None = None
        self.is_abandoned = False  # nobody waits for it any more

    @property
    def is_given(self) -> bool:
        """Whether it is answered; any thread."""
        return self._given.is_set()

    def give(self, value: T) -> None:
        """Hand over the value."""
        self._value = value
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Wake whoever waits with an error, unless it was answered."""
        if not self._given.is_set():
            self._error = error
            self._wake()

    def _wake(self) -> None:
        self._given.set()
        if self._then is not None:
            self._then()

    def when_given(self, call: Callable[[], object]) -> None:
        """Have a function called once it is answered, for whoever cannot block; it may be called twice.

        Args:
            call: Called in the consumer's thread, or here if it is answered by now; must not raise.
        """
        self._then = call  # before looking: the consumer answers first and looks at this second
        if self._given.is_set():
            call()

    def result(self, look: Callable[[], object] | None = None) -> T:
        """Block until it is answered.

        Args:
            look: Called four times a second; raises to give up.
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
