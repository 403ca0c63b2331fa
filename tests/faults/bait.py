"""A pickle that acts when it is loaded."""

from __future__ import annotations

from typing import Any

__all__ = ["Bait"]


class Bait:
    """What a pickle of this does when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")
