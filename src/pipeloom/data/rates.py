"""How fast, how long, how much longer: the figures of a run as people read them."""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Pace", "ago", "duration", "fraction", "per_second", "time_left"]

_WINDOW_S: Final = 10.0
_FEW: Final = 8


class Pace:
    """Tasks per second over about the last ten seconds, or longer, so that eight tasks ended in it.

    While there is less than that, since the beginning.

    Args:
        began: When the run began, on the caller's clock, in seconds; may be long ago.
    """

    def __init__(self, began: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(began, 0)])

    def rate(self, now: float, ended: int) -> float:
        """Return tasks per second.

        Args:
            now: On the same clock.
            ended: How many tasks have ended since the beginning.
        """
        samples = self._samples
        if len(samples) > 1 and samples[-1][1] == ended:
            samples.pop()  # nothing has ended since: one look stands for all
        samples.append((now, ended))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW_S and ended - samples[1][1] >= _FEW:
            samples.popleft()
        since, before = samples[0]
        return max(ended - before, 0) / (now - since) if now > since else 0.0


def per_second(rate: float) -> str:
    """Return a rate as ``812/s``, ``3.2/s`` or ``6.7/min``."""
    if 0 < rate < 0.5:
        return f"{rate * 60:.1f}/min"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def time_left(rate: float, expected: int | None, seen: int) -> str | None:
    """Return ``4:05 left``; ``None`` when it is not known, or nothing is left."""
    if expected is None or rate <= 0 or expected <= seen:
        return None
    return f"{duration((expected - seen) / rate)} left"


def duration(seconds: float) -> str:
    """Return a time as ``3.2 s``, ``4:05``, ``1:02:03`` or ``3 d 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes_over = divmod(minutes, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    if hours < 48:
        return f"{hours}:{minutes_over:02d}:{rest:02d}"
    return f"{hours // 24:,} d {hours % 24} h"


def ago(seconds: float) -> str:
    """Return an age as ``just now``, ``12 s ago``, ``5 min ago``, ``3 h ago`` or ``4 d ago``."""
    if seconds < 2:
        return "just now"
    for unit, size, limit in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds // 86400:,.0f} d ago"


def fraction(step: float, total: float | None) -> float:
    """Return ``step/total`` within 0..1; 0 when there is no total to speak of.

    Raises:
        TypeError: One of them is no number.
    """
    if not total or not total > 0:
        return 0.0
    share = step / total
    return 1.0 if share > 1.0 else share if share > 0.0 else 0.0  # noqa: FURB136 - max() takes five times as long
