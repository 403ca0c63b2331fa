"""Rates, durations and time left: the figures of a run as people read them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

__all__ = ["Forecast", "Pace", "Running", "age", "ago", "duration", "fraction", "per_second"]

_WINDOW_S: Final = 10.0
_FEW: Final = 8
_ROUNDS: Final = 4  # tasks that began together end together, so a rate covers several such rounds
_MOST: Final = 256  # tasks in a window, however many run at once
_SOON_S: Final = 2.0  # too early to predict how long a run takes
_LEAST: Final = 0.02  # the least fraction from which the total time can be predicted


class Pace:
    """Tasks per second over about the last ten seconds, or longer, so that several rounds of tasks are included.

    At first, the rate since the beginning.

    Args:
        began: When the run began, on the caller's clock, in seconds; may be long ago.
    """

    def __init__(self, began: float) -> None:
        self._samples: deque[tuple[float, float]] = deque([(began, 0)])

    def rate(self, now: float, ended: float, at_once: int = 0) -> float:
        """Return tasks per second.

        Args:
            now: On the same clock.
            ended: How many tasks have ended since the beginning.
            at_once: How many run at the same time.
        """
        samples, few = self._samples, min(max(_FEW, _ROUNDS * at_once), _MOST)
        if len(samples) > 1 and samples[-1][1] == ended:
            samples.pop()  # nothing has ended since, so one sample is enough
        samples.append((now, ended))
        while len(samples) > 2 and now - samples[1][0] >= _WINDOW_S and ended - samples[1][1] >= few:
            samples.popleft()
        since, before = samples[0]
        return max(ended - before, 0.0) / (now - since) if now > since else 0.0


class Running(NamedTuple):
    """A running task: for how many seconds it has run, and the fraction (0..1) that is done, 0 if not reported."""

    elapsed_s: float
    fraction: float

    @property
    def left_s(self) -> float | None:
        """How many seconds it still needs at its own pace; ``None`` if that cannot be predicted."""
        if self.fraction < _LEAST or self.elapsed_s < 1.0:
            return None
        return self.elapsed_s * (1.0 - self.fraction) / self.fraction


class Forecast:
    """The time left in a run. Running tasks count by their fraction; the slowest of them sets a minimum.

    Args:
        began: When the run began, on the caller's clock, in seconds.
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._pace = Pace(began)
        self._typical_s: float | None = None  # how long a task took while all workers were busy

    def left_s(
        self, now: float, ended: int, left: int, running: Sequence[Running], at_once: int | None = None
    ) -> float | None:
        """Return seconds; ``None`` if nothing is left, or if it is too early to predict.

        Args:
            now: On the same clock.
            ended: How many tasks have ended in this run.
            left: How many have not, including running ones.
            running: The running tasks, n of them, or only some.
            at_once: How many run in all, if that is more.
        """
        at_once = max(at_once or 0, len(running))
        done = ended + sum(task.fraction for task in running)
        rate = self._pace.rate(now, done, at_once)
        own = [task.left_s for task in running]
        longest = max((left_s for left_s in own if left_s is not None), default=0.0)
        if left <= 0 or now - self._began < _SOON_S:
            return None
        if left <= at_once:  # the tail: nothing waits any more, so the rate is meaningless
            return self._last_s(running, own, longest) if at_once == len(running) else None
        enough = done >= max(3, min(at_once, 16)) or (None not in own and done >= _LEAST * (ended + left))
        if rate <= 0 or not enough:
            return None
        self._typical_s = at_once / rate if at_once else None
        return max((ended + left - done) / rate, longest)

    def _last_s(self, running: Sequence[Running], own: Sequence[float | None], longest: float) -> float | None:
        """Return how long the last tasks take; tasks that report no fraction count as typical ones."""
        unknown = [task.elapsed_s for task, left_s in zip(running, own, strict=True) if left_s is None]
        if not unknown:
            return longest
        if self._typical_s is None or min(unknown) >= self._typical_s or max(unknown) >= 2 * self._typical_s:
            return None
        return max(self._typical_s - min(unknown), longest)


def per_second(rate: float) -> str:
    """Return a rate as ``812/s``, ``3.2/s``, ``6.7/min`` or ``2.5/h``; all rates are shown in this format.

    Args:
        rate: Per second.
    """
    for unit, factor in (("s", 1.0), ("min", 60.0), ("h", 3600.0)):
        if rate * factor >= 0.5 or rate <= 0:
            return f"{_number(rate * factor)}/{unit}"
    return "< 0.5/h"


def duration(seconds: float | None) -> str:
    """Return a time as ``850 µs``, ``38 ms``, ``3.2 s``, ``42 s``, ``4:05``, ``1:02:03`` or ``3 d 4 h``.

    All durations are shown in this format; ``live.js`` implements it again.

    Args:
        seconds: The duration; ``None`` means unknown, and gives an empty text.
    """
    if seconds is None:
        return ""
    if not 0 < seconds < inf:
        return "0 s" if seconds <= 0 else "?"  # a foreign file may contain NaN
    for unit, size, limit in (("µs", 1e-6, 999.5), ("ms", 1e-3, 999.5), ("s", 1.0, 59.5)):
        if seconds < size * limit:
            return f"{_number(seconds / size)} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_over = divmod(minutes, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    if hours < 48:
        return f"{hours}:{minutes_over:02d}:{rest:02d}"
    return f"{hours // 24:,} d {hours % 24} h"


def _number(value: float) -> str:
    """Return a number with two digits, or with all digits before its point."""
    return f"{value:,.0f}" if value >= 9.95 or not value else f"{value:.1f}"


def age(seconds: float) -> str:
    """Return a time that is running or still to come like :func:`duration`, but below a second as ``< 1 s``."""
    return duration(seconds) if seconds >= 1 else "< 1 s"


def ago(seconds: float) -> str:
    """Return an age as ``just now``, ``12 s ago``, ``5 min ago``, ``3 h ago`` or ``4 d ago``."""
    if seconds < 2:
        return "just now"
    for unit, size, limit in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < size * limit:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{seconds // 86400:,.0f} d ago"


def fraction(step: float, total: float | None) -> float:
    """Return ``step/total`` within 0..1; 0 if there is no meaningful total.

    Raises:
        TypeError: One of them is not a number.
    """
    if not total or not total > 0:
        return 0.0
    share = step / total
    return 1.0 if share > 1.0 else share if share > 0.0 else 0.0  # noqa: FURB136 - max() takes five times as long
