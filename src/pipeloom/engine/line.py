"""The inputs that tasks have added and that wait in the file: fetched a page at a time, as workers use them up.

::

    writer ──"there are more"──▶ line ──a worker asks the writer──▶ a page ──▶ ready
"""

from __future__ import annotations

import threading
from typing import Any, Final

from pipeloom.data.items import item_from
from pipeloom.data.text import describe
from pipeloom.data.versions import StoredVersion
from pipeloom.data.weights import slots_for, weigh
from pipeloom.engine.admitting import Admitting, refused
from pipeloom.engine.identity import Unidentified, VersionTeller
from pipeloom.engine.reader import Pulled
from pipeloom.ledger.admission import Admission
from pipeloom.ledger.attempt import Attempt
from pipeloom.ledger.found import FoundInputs, Page, Waiting
from pipeloom.writer import SQLiteWriter
from pipeloom.writer.requests import EarlyRequest, Request

__all__ = ["FoundRequests", "Line"]

_PAGE: Final = 512


class FoundRequests:
    """Asks the ledger about added inputs, between two batches; any thread.

    Args:
        found: The inputs that wait in the file.
        writer: Executes the requests.
    """

    def __init__(self, found: FoundInputs, writer: SQLiteWriter) -> None:
        self._found = found
        self._writer = writer

    def page(self, most: int) -> Request[Page]:
        """Ask for the next inputs, at most this many."""
        return self._writer.submit(EarlyRequest(lambda _: self._found.page(most)))

    def admissions(self, keys: list[Any], versions: list[StoredVersion | None]) -> Request[list[Admission]]:
        """Ask what to do with inputs whose versions are now known."""
        return self._writer.submit(EarlyRequest(lambda _: self._found.admissions(keys, versions)))


class Line:
    """The queue of added inputs, where they leave the file. Guarded by the intake's lock unless noted.

    Args:
        moved: Wakes workers when there is something to do; the intake's own.
        admitting: Makes attempts.
        version_of: Determines the version of an input; ``None`` without ``version=``.
        ledger: Where the inputs wait; ``None`` if tasks add none.
    """

    def __init__(
        self,
        moved: threading.Condition,
        admitting: Admitting,
        version_of: VersionTeller | None,
        ledger: FoundRequests | None,
    ) -> None:
        self._moved = moved
        self._admitting = admitting
        self._version_of = version_of
        self._ledger = ledger
        self._request: Request[Page] | None = None
        self.has_more = False  # not asked for yet; changed under `moved`, read by any thread

    def grew(self) -> None:
        """Note that the file holds more inputs; any thread."""
        with self._moved:
            self.has_more = True
            self._moved.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether all inputs have been handed out, until more are added."""
        return self._request is None and not self.has_more

    def wants(self, ready: int) -> bool:
        """Return whether it is time to ask, given how many attempts are ready; any thread."""
        return self.has_more and ready < _PAGE and self._request is None

    def ask(self) -> None:
        """Ask for a page, unless an answer is outstanding or there are no more inputs; does not wait."""
        if self._request is None and self.has_more and self._ledger is not None:
            with self._moved:
                self.has_more = False  # before asking: a commit from now on sets it again
            self._request = self._ledger.page(_PAGE)

    def is_here(self, ready: int) -> bool:
        """Return whether to take the page: it has arrived, or there is nothing else to do."""
        return self._request is not None and (not ready or self._request.is_given)

    def take(self) -> list[Attempt]:
        """Return the attempts of the requested page, 0 or more; blocks until it arrives.

        Raises:
            WriterBrokenError: The writer died.
        """
        assert self._request is not None
        page = self._request.result()
        self._request = None
        if not page.is_last:
            with self._moved:
                self.has_more = True
        pulled, faults = self._made(page.inputs)
        admissions = page.admissions
        if admissions is None:
            assert self._ledger is not None
            admissions = self._ledger.admissions(
                [each[1] for each in pulled], [each[5] for each in pulled]
            ).result()
        attempts = []
        for each, admission in zip(pulled, admissions, strict=True):
            for attempt in self._admitting.attempts([each], [admission]):  # none if it is skipped
                fault = faults.get(id(each))
                attempts.append(attempt if fault is None else refused(attempt, *fault))
        return attempts

    def _made(self, inputs: list[Waiting]) -> tuple[list[Pulled], dict[int, Unidentified]]:
        """Return inputs as if they had been read, and the problems of some, by identity."""
        pulled: list[Pulled] = []
        faults: dict[int, Unidentified] = {}
        for place, waiting in enumerate(inputs, 1):
            item: object = None
            version: StoredVersion | None = None
            fault: str | Unidentified | None = None
            try:
                item = item_from(waiting.item)
            except ValueError as caught:
                error = ValueError(f"the added input cannot be restored from its text: {describe(caught, 300)}")
                fault = Unidentified(error, str(error), f"ValueError: {error}")
            else:
                if self._version_of is not None:
                    version, fault = self._version_of(item, place, waiting.name, None)
            each = (item, waiting.key, waiting.input, waiting.name, slots_for(weigh(item)), version)
            pulled.append(each)
            if isinstance(fault, Unidentified):
                faults[id(each)] = fault
        return pulled, faults
