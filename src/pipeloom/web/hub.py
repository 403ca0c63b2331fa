"""One reader for all viewers: it checks whether the file changed, and builds each part once for everyone.

The reader is a thread with its own ``History``. Without viewers it sleeps and keeps no file open; while nothing
changes, it only queries ``PRAGMA data_version``. The parts go to the event loop, where each viewer keeps only the
newest version of each: a slow viewer costs no memory.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time
from typing import Any, Final, Protocol

from pipeloom.data.text import clean, describe
from pipeloom.errors import PipeloomError
from pipeloom.history import Follower, History
from pipeloom.web.answers import Desk, Memo
from pipeloom.web.pieces import Missing, not_there, notice

__all__ = ["LOOK_S", "MAX_VIEWERS", "Hub", "TooManyViewersError", "View", "Viewer", "problem_of"]

MAX_VIEWERS: Final = 64
LOOK_S: Final = 0.3
_DUTY: Final = 5  # a view that is slow to build rests this many times as long
_DEADLINE_S: Final = 2.0
_WAIT_S: Final = 0.05  # for answers that are nearly ready; all other views wait meanwhile
_END_S: Final = 0.5


class View(Protocol):
    """What can be watched; hashable, so that all its viewers share one."""

    @property
    def rest_s(self) -> float:
        """The least time between two builds, in seconds."""

    @property
    def places(self) -> tuple[str, ...]:
        """The ids of its parts' elements."""

    def build(self, history: History, memo: Memo) -> Mapping[str, str]:
        """Return the parts as HTML by their element's id; runs in the thread of ``history``.

        Args:
            history: What to read.
            memo: What the last build for the same viewers kept.
        """


class TooManyViewersError(PipeloomError):
    """The page has as many viewers as it accepts."""


@dataclass(eq=False)
class Viewer:
    """One open event stream; used only in the event loop."""

    view: View
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    pending: dict[str, bytes] = field(default_factory=dict)
    gone: bool = False

    def offer(self, parts: Mapping[str, bytes]) -> None:
        """Keep the newest version of each part, in the order of their ids.

        A viewer whose connection breaks comes back with the id of the last event that it has got: nothing older
        than that may come after it.
        """
        for name, event in parts.items():
            self.pending.pop(name, None)
            self.pending[name] = event
        self.ready.set()

    def leave(self) -> None:
        """End the stream, the next time its task looks."""
        self.gone = True
        self.ready.set()

    def take(self) -> bytes:
        """Return everything that is waiting, in the format of the stream."""
        data = b"".join(self.pending.values())
        self.pending.clear()
        self.ready.clear()
        return data


@dataclass(eq=False)
class _Watched:
    """A view with at least one viewer. The event loop owns the first line, the reader the second."""

    memo: Memo
    viewers: set[Viewer] = field(default_factory=set)
    latest: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    html: dict[str, str] = field(default_factory=dict)
    stale: bool = True
    rests_until: float = 0.0


class Hub:
    """The reader and its viewers. Start, use and stop it in the event loop.

    Args:
        db_path: The ledger; need not exist yet.
        max_viewers: How many streams may be open at once.
    """

    def __init__(self, db_path: Path, *, max_viewers: int = MAX_VIEWERS) -> None:
        self._path = db_path
        self._max_viewers = max_viewers
        self._views: dict[View, _Watched] = {}  # changed in the event loop, with the lock held
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._boot = secrets.token_hex(4)
        self._number = 0
        self.desk = Desk(db_path)
        self._changed_at = 0.0  # when the reader last saw a change, on the monotonic clock
        self.looks = 0  # how often the reader has looked at the file

    # --- the event loop's side ---

    def start(self) -> None:
        """Start reading, once there are viewers."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="pipeloom-web-reader", daemon=True)
        self._thread.start()

    def end_streams(self) -> None:
        """End every stream and accept no new ones; may be called from a signal handler's callback."""
        self._stopping = True
        for watched in self._views.values():
            for viewer in watched.viewers:
                viewer.leave()
        self._wake.set()

    async def stop(self) -> None:
        """End the streams and the reader; stopping twice is fine."""
        self.end_streams()
        if self._thread is not None:
            # It may be in the middle of a long read. Since it only reads, stopping does not wait for that.
            await asyncio.to_thread(self._thread.join, _END_S)
            self._thread = None
        await asyncio.to_thread(self.desk.close)

    def join(self, view: View, seen: str = "") -> Viewer:
        """Return a new viewer of ``view``, which gets the current state at once.

        Args:
            view: What to watch.
            seen: The id of the last event that a returning viewer received: nothing older is sent again.

        Raises:
            TooManyViewersError: There is no room, or the server is stopping.
        """
        if self._stopping:
            raise TooManyViewersError("this server no longer follows the file: restart it")
        if self.viewers >= self._max_viewers:
            raise TooManyViewersError(
                f"{self.viewers} pages are open, the most that this server accepts: close one"
            )
        with self._lock:
            watched = self._views.setdefault(view, _Watched(Memo(self.desk)))
        viewer = Viewer(view)
        watched.viewers.add(viewer)
        boot, _, number = seen.partition("-")
        last = int(number) if boot == self._boot and number.isdecimal() else 0
        newest = sorted(watched.latest.items(), key=lambda part: part[1][0])
        if news := {name: event for name, (number_of, event) in newest if number_of > last}:
            viewer.offer(news)
        self._wake.set()
        return viewer

    def part(self, viewer: Viewer) -> None:
        """Remove a viewer; removing it twice is fine."""
        watched = self._views.get(viewer.view)
        if watched is not None:
            watched.viewers.discard(viewer)
            if not watched.viewers:
                with self._lock:
                    del self._views[viewer.view]

    def shown(self, view: View) -> Mapping[str, str] | None:
        """Return what the viewers of a view see now; ``None`` if it has none."""
        watched = self._views.get(view)
        return dict(watched.html) if watched is not None and len(watched.html) > len(view.places) else None

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(len(watched.viewers) for watched in self._views.values())

    @staticmethod
    def _deliver(watched: _Watched, parts: dict[str, tuple[int, bytes]]) -> None:
        watched.latest.update(parts)
        events = {name: event for name, (_, event) in parts.items()}
        for viewer in watched.viewers:
            viewer.offer(events)

    # --- the reader's side ---

    def _run(self) -> None:
        eye = _Eye(self._path)
        try:
            while not self._stopping:
                self._wake.clear()
                with self._lock:
                    views = dict(self._views)
                if not views:
                    eye.close()
                    self._wake.wait()
                    continue
                self._look(eye, views)
                self._wake.wait(LOOK_S)  # a new viewer ends the wait
        finally:
            eye.close()
            # Whatever ended the reader: a page that is no longer updated must not claim to be live.
            self._hand_over(self.end_streams)

    def _hand_over(self, call: Callable[..., None], *args: Any) -> None:
        """Have the event loop call a function."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended
            self._stopping = True

    def _look(self, eye: _Eye, views: Mapping[View, _Watched]) -> None:
        self.looks += 1
        if eye.look():
            self._changed_at = monotonic()
            for watched in views.values():
                watched.stale = True
        for view, watched in views.items():
            if self._stopping:
                return
            began = monotonic()
            if watched.stale and began >= watched.rests_until:
                watched.memo.since, watched.memo.until = self._changed_at, began + _WAIT_S
                parts, watched.stale = eye.build(view, watched.memo)
                done = monotonic()
                watched.rests_until = done + max(view.rest_s, (done - began) * _DUTY)
                self._publish(watched, parts)

    def _publish(self, watched: _Watched, parts: Mapping[str, str]) -> None:
        news = {name: html for name, html in parts.items() if watched.html.get(name) != html}
        if not news:
            return
        watched.html.update(news)
        encoded = {}
        for name, html in news.items():
            self._number += 1
            content = json.dumps({"part": name, "html": html, "now": round(time(), 1)})
            event = f"id: {self._boot}-{self._number}\ndata: {content}\n\n".encode()
            encoded[name] = (self._number, event)
        self._hand_over(self._deliver, watched, encoded)


class _Eye:
    """The reader's access to the file, and any error that prevents reading."""

    def __init__(self, path: Path) -> None:
        self._follower = Follower(path, deadline_s=_DEADLINE_S)
        self._history: History | None = None
        self._problem = ""

    def close(self) -> None:
        self._follower.close()
        self._history = None

    def look(self) -> bool:
        """Return whether there is something new to read."""
        before = self._problem
        try:
            self._history, news = self._follower.look()
        except Exception as error:  # noqa: BLE001 - a damaged or foreign file: shown on the page, tried again
            self._history, self._problem = None, problem_of(error)
            return self._problem != before
        self._problem = ""
        return news is not None

    def build(self, view: View, memo: Memo) -> tuple[Mapping[str, str], bool]:
        """Return the view's parts, or only the notice if they cannot be read; and whether to try again."""
        if self._history is None:
            return {"notice": notice(self._problem)}, False  # the next successful look makes all views stale
        try:
            memo.again = False
            parts = view.build(self._history, memo)
            return {"notice": "", **parts}, memo.again
        except Missing as missing:
            return {"notice": not_there(str(missing))}, False
        except Exception as error:  # noqa: BLE001 - as in `look`
            return {"notice": notice(problem_of(error))}, True


def problem_of(error: Exception) -> str:
    """Return one sentence for an error while reading."""
    return clean(
        describe(error) if isinstance(error, PipeloomError) else f"{type(error).__name__}: {describe(error)}"
    )
