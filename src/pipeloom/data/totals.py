"""How the inputs of a run ended, as counts and words: the same in a report, on the terminal and on a page."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from pipeloom.statuses import CANCELLED, DONE, ENDED, ERROR, OPEN, TIMED_OUT

__all__ = ["SKIPPED", "WORDS", "Counted", "Total", "how_many", "in_order", "spelled", "totals", "totals_of"]

SKIPPED: Final = "skipped"
"""The outcome of an input that was already done: not a status, since it is not a task of this run."""

WORDS: Final[Mapping[str, str]] = {
    DONE: "done",
    ERROR: "failed",
    TIMED_OUT: "timed out",
    CANCELLED: "cancelled",
    SKIPPED: "skipped",
}
"""The word for each outcome, in the order in which they are shown."""


class Counted(Protocol):
    """Anything with the counts of a run: a row of the history, or a report."""

    @property
    def done(self) -> int:
        """Tasks done."""

    @property
    def failed(self) -> int:
        """Tasks that failed."""

    @property
    def timed_out(self) -> int:
        """Tasks that timed out."""

    @property
    def cancelled(self) -> int:
        """Tasks that were cancelled."""

    @property
    def skipped(self) -> int:
        """Inputs that were already done."""


class Total(NamedTuple):
    """How many inputs ended in one way.

    Attributes:
        kind: A status, or ``skipped``.
        word: The word that people read.
        number: How many, 0 or more.
    """

    kind: str
    word: str
    number: int


def totals(run: Counted, always: Collection[str] = (DONE,)) -> list[Total]:
    """Return how a run's inputs ended; outcomes with no inputs are left out, except for those in ``always``."""
    return totals_of(_counts(run), always)


def totals_of(counts: Mapping[str, int], always: Collection[str] = (DONE,)) -> list[Total]:
    """Return the same from counts by kind; other kinds are ignored."""
    return [
        Total(kind, word, counts.get(kind, 0)) for kind, word in WORDS.items() if counts.get(kind) or kind in always
    ]


def how_many(run: Counted, kinds: Iterable[str] = WORDS) -> int:
    """Return how many of a run's inputs ended in one of these ways; by default, in any way."""
    counts = _counts(run)
    return sum(counts.get(kind, 0) for kind in kinds)


def _counts(run: Counted) -> dict[str, int]:
    return {
        DONE: run.done,
        ERROR: run.failed,
        TIMED_OUT: run.timed_out,
        CANCELLED: run.cancelled,
        SKIPPED: run.skipped,
    }


def spelled(status: str) -> str:
    """Return the status of a task as words: ``timed out``."""
    return status.replace("_", " ")


def in_order(statuses: Iterable[str]) -> list[str]:
    """Return statuses in the order in which people look for them: running, done, failed, then unknown ones."""
    found, known = set(statuses), (*OPEN, *ENDED)
    return [*(status for status in known if status in found), *sorted(found.difference(known))]
