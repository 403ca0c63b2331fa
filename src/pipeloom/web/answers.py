"""Queries that take longer than a page may wait: answered once for all viewers, and cached.

Each ``Answers`` has one thread, which runs only while there are questions. A page shows what is known, and is
updated when more is known.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any, Final, Generic, TypeVar

from pipeloom.history import History

__all__ = ["Answer", "Answers", "Desk", "Memo", "last_change"]

T = TypeVar("T")

_FIGURES_S: Final = 900.0  # deadlines: three million tasks on a slow machine take a fraction of either
_LISTS_S: Final = 120.0
_KEPT: Final = 32
_STAMP_S: Final = 1.0  # coarse file systems have stamps of whole seconds, kernel clocks of a few milliseconds
_SELDOM_S: Final = 1.0
_DUTY: Final = 10  # a question rests this many times as long as its answer took
_END_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What is known.

    Attributes:
        value: The answer.
        at: When answering began, in seconds since 1970.
        is_current: Whether nothing newer is on its way.
    """

    value: T
    at: float
    is_current: bool


@dataclass(slots=True)
class _Entry:
    version: Hashable = None
    value: Any = None
    error: Exception | None = None
    began: float | None = None  # when answering began, on the monotonic clock; None if there is no answer yet
    at: float = 0.0
    rests_until: float = 0.0
    is_pending: bool = False


class Answers:
    """Questions about one file, answered one after another; any thread may ask.

    Args:
        db_path: The ledger.
        name: The name of the thread.
        deadline_s: How long one question may take.
    """

    def __init__(self, db_path: Path, name: str, *, deadline_s: float) -> None:
        self._path = db_path
        self._name = name
        self._deadline_s = deadline_s
        self._changed = threading.Condition()  # guards all below
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._questions: OrderedDict[Hashable, tuple[Hashable, Callable[[History], Any]]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def close(self) -> None:
        """Stop answering; the current question is abandoned. Closing twice is fine."""
        with self._changed:
            self._is_closed = True
            self._questions.clear()
            thread = self._thread
        if thread is not None:
            thread.join(_END_S)  # it checks between two pages of the file, and only reads

    def ask(
        self,
        key: Hashable,
        question: Callable[[History], T],
        *,
        version: Hashable = None,
        since: float = 0.0,
        wait_s: float = 0.0,
    ) -> Answer[T] | None:
        """Return what is known, and have it answered again if it is out of date.

        Args:
            key: Identifies the question.
            question: Answers it, from a ``History`` with a long deadline, in the thread of these answers.
            version: An answer of another version is out of date.
            since: So is an answer begun before this instant of the monotonic clock.
            wait_s: How long to wait for an answer that is unknown or out of date.

        Raises:
            Exception: Whatever ``question`` raised, if nothing newer is known.
        """
        until = monotonic() + wait_s
        with self._changed:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            if not self._is_current(entry, version, since) and not entry.is_pending:
                self._put(key, entry, version, question)
            while not self._is_current(entry, version, since) and entry.is_pending:
                if (left := until - monotonic()) <= 0:
                    break
                self._changed.wait(left)
            if entry.error is not None:
                raise entry.error
            if entry.began is None:
                return None
            return Answer(entry.value, entry.at, self._is_current(entry, version, since))

    @staticmethod
    def _is_current(entry: _Entry, version: Hashable, since: float) -> bool:
        return entry.began is not None and entry.version == version and entry.began >= since

    def _put(self, key: Hashable, entry: _Entry, version: Hashable, question: Callable[[History], Any]) -> None:
        if self._is_closed or monotonic() < entry.rests_until:
            return
        entry.is_pending = True
        self._questions[key] = version, question
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._questions:
                    self._thread = None  # the next question starts another one
                    return
                key, (version, question) = self._questions.popitem(last=False)
            began, at = monotonic(), time()
            value, error = None, None
            try:
                with History(self._path, deadline_s=self._deadline_s, is_over=lambda: self._is_closed) as history:
                    value = question(history)
            except Exception as caught:  # noqa: BLE001 - a damaged or foreign file can raise anything: it is raised again in `ask`
                error = caught
            with self._changed:
                self._keep(key, _Entry(version, value, error, began, at))

    def _keep(self, key: Hashable, found: _Entry) -> None:
        assert found.began is not None
        took = monotonic() - found.began
        entry = self._entries.setdefault(key, found)
        entry.version, entry.value, entry.error = found.version, found.value, found.error
        entry.began, entry.at, entry.is_pending = found.began, found.at, False
        entry.rests_until = monotonic() + max(_SELDOM_S if took > 0.1 else 0.0, took * _DUTY)
        for other in list(self._entries)[:-_KEPT]:
            if not self._entries[other].is_pending:
                del self._entries[other]
        self._changed.notify_all()


def last_change(db_path: Path) -> float:
    """Return an instant of the monotonic clock since which a database has not been written.

    What was answered after it is current. Blocks for two accesses to the disk.
    """
    now, stamps = monotonic(), []
    for path in (db_path, Path(f"{db_path}-wal")):
        with suppress(OSError):
            stamps.append(path.stat().st_mtime)
    age = time() - max(stamps, default=time()) - _STAMP_S
    return now - max(age, 0.0)


class Desk:
    """All the answers of one server: a long question about figures does not delay lists.

    Args:
        db_path: The ledger.
    """

    def __init__(self, db_path: Path) -> None:
        self.figures: Final = Answers(db_path, "pipeloom-web-figures", deadline_s=_FIGURES_S)
        self.lists: Final = Answers(db_path, "pipeloom-web-lists", deadline_s=_LISTS_S)

    def close(self) -> None:
        """Stop answering; closing twice is fine."""
        self.figures.close()
        self.lists.close()


@dataclass(slots=True)
class Memo:
    """What a view knows when it is built, and what it keeps for the next build.

    Attributes:
        desk: Answers the questions that take long.
        since: Answers begun before this instant of the monotonic clock may be out of date.
        until: Until when to wait for answers.
        kept: What the last build kept.
        again: Set by a build to be repeated even if the file does not change.
    """

    desk: Desk
    since: float = 0.0
    until: float = 0.0
    kept: dict[str, Any] = field(default_factory=dict)
    again: bool = False

    def ask(
        self,
        answers: Answers,
        key: Hashable,
        question: Callable[[History], T],
        *,
        version: Hashable = None,
        since: float | None = None,
    ) -> Answer[T] | None:
        """Return what is known, see :meth:`Answers.ask`; the view is built again if more is on its way."""
        found = answers.ask(
            key,
            question,
            version=version,
            since=self.since if since is None else since,
            wait_s=max(self.until - monotonic(), 0.0),
        )
        self.again = self.again or found is None or not found.is_current
        return found
