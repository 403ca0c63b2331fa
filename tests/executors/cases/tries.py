"""What is worth another try."""

from __future__ import annotations

import pipeloom

__all__ = ["RETRY", "Again", "StillAgain"]


class Again(Exception):
    """What is worth another try."""


class StillAgain(Again):
    """Its class is another, its base is the same."""


RETRY = pipeloom.Retry(attempts=3, delay_s=0, on=Again)
