"""Turns inputs and the ledger's answers about them into attempts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeloom.engine.identity import Identity, Unidentified
from pipeloom.engine.reader import Pulled
from pipeloom.ledger.admission import Admission, refusal_of
from pipeloom.ledger.attempt import Attempt

__all__ = ["Admitting", "refused"]


class Admitting:
    """Makes attempts from inputs and the ledger's answers.

    Args:
        keyed: Tasks are identified by key rather than by number.
        has_key: The keys come from ``key=`` rather than from the inputs.
        db: The path of the database file.
        skipped: Called with the number of slots of a skipped input that takes more than one.
    """

    def __init__(self, *, keyed: bool, has_key: bool, db: str, skipped: Callable[[int], None]) -> None:
        self._keyed = keyed
        self._has_key = has_key
        self._db = db
        self._skipped = skipped

    def attempts(self, chunk: list[Pulled], admissions: list[Admission]) -> Iterator[Attempt]:
        """Return the attempts of a chunk; rejected inputs become attempts that have already ended.

        Args:
            chunk: n inputs.
            admissions: The ledger's answers for the inputs that have an identity, in their order.
        """
        answers = iter(admissions)
        for item, identity, known, name, weight, version in chunk:
            if isinstance(known, Unidentified):
                attempt = refused(Attempt(item, 0, None, name, "none"), *known)
            else:
                number, verdict = next(answers)
                if verdict in ("skip", "aside"):
                    if weight > 1:
                        self._skipped(weight)
                    continue
                attempt = self._attempt(item, identity, known, name, number, verdict)
                if version is not None:
                    attempt.version = version
            if weight > 1:
                attempt.weight = weight
            yield attempt

    def _attempt(
        self, item: object, identity: Identity, known: str | None, name: str, number: int, verdict: str
    ) -> Attempt:
        attempt = Attempt(item, number, identity if self._keyed else None, name, "new")
        if known is not None:
            attempt.input = known
        if verdict == "provisional":
            attempt.row = "provisional"
        elif verdict == "again":
            attempt.row = "old"
            attempt.seen_before = self._keyed
        elif verdict == "redo":
            attempt.row = "old"
            attempt.replaces = True
        elif verdict == "found":
            attempt.row = "old"
            attempt.recorded = (number, None)  # this run has queued the row
        elif verdict != "new":
            attempt.row = "none"
            error = refusal_of(verdict, attempt, chosen=self._has_key, db=self._db)
            if verdict != "taken":
                attempt.task_id = 0
            attempt = refused(attempt, error, str(error), f"{type(error).__name__}: {error}")
        return attempt


def refused(attempt: Attempt, error: Exception, message: str, trace: str) -> Attempt:
    """Mark an attempt as failed before it ran; it only has to be passed on to the writer."""
    vars(attempt).update(attempt.failed(error, message, trace))
    return attempt
