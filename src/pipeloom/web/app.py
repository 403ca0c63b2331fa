"""The pages and their addresses: a Starlette application.

Each request reads in one of a few threads, with its own ``History`` and a deadline. The event loop never accesses
the file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeloom.data.text import clean
from pipeloom.history import History
from pipeloom.show.html import Html, join, style, tag
from pipeloom.web import pieces, views
from pipeloom.web.answers import Memo, last_change
from pipeloom.web.events import Events
from pipeloom.web.hub import MAX_VIEWERS, Hub, problem_of
from pipeloom.web.layout import frame, message_page
from pipeloom.web.same_origin import SameOrigin
from pipeloom.web.task_filter import TaskFilter
from pipeloom.web.tasks_view import TasksView
from pipeloom.web.views import AnyView

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Scope

__all__ = ["Pages", "make_app"]

_READERS: Final = 4
_WAITING: Final = 32
_DEADLINE_S: Final = 5.0
_WAIT_S: Final = 0.5  # for slow answers: what is not known by then is sent over the stream
_MAX_WORD: Final = 200
_MAX_FIELDS: Final = 20  # of an address
_STATIC: Final = {
    "page.css": "text/css",
    "web.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

_NOTHING_YET: Final = tag(
    "section", tag("h1", "Nothing to show yet"), tag("p", "It will appear here automatically.", class_="note")
)
_ATTRIBUTES: Final[Mapping[str, Mapping[str, Any]]] = {
    "notice": {"tabindex": -1, "role": "status"},
    "spoken": {"class_": "hidden-text", "role": "status"},
}


class Pages:
    """What the application needs: the file, the hub and the reader threads.

    Args:
        db_path: The ledger; need not exist yet.
        abort: Cuts the connection of a client's address.
        max_viewers: How many streams may be open at once.
    """

    def __init__(
        self, db_path: Path, *, abort: Callable[[Any], None] = lambda _: None, max_viewers: int = MAX_VIEWERS
    ) -> None:
        self.db_path = db_path
        self.database = clean(db_path.name, 100)
        self.hub = Hub(db_path, max_viewers=max_viewers)
        self.events = Events(self.hub, view_of, abort)
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="pipeloom-web")
        self._waiting = 0

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:  # noqa: ARG002 - Starlette's signature
        """Run the hub while the server runs."""
        self.hub.start()
        try:
            yield
        finally:
            await self.hub.stop()
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def show(self, request: Request) -> Response:
        """Answer for any page: read the file, and fill in the page's parts."""
        view = view_of(request.scope)
        if view is None:
            return self._message(404, "No such page", "There is no page at this address. Start from the overview.")
        if self._waiting >= _WAITING:
            return PlainTextResponse(
                "Too many pages are being loaded: try again in a moment.\n", 503, {"retry-after": "2"}
            )
        if (content := self.hub.shown(view)) is not None:  # with its rows where the other viewers see them
            return HTMLResponse(self._page(view, content))
        self._waiting += 1
        try:
            content = await asyncio.get_running_loop().run_in_executor(self._pool, self._read, view)
        except pieces.Missing as missing:
            return self._message(404, "Not there", str(missing))
        finally:
            self._waiting -= 1
        return HTMLResponse(self._page(view, content))

    def _read(self, view: AnyView) -> Mapping[str, str]:
        """Read a view, in one of the reader threads."""
        try:
            with History(self.db_path, deadline_s=_DEADLINE_S) as history:
                memo = Memo(self.hub.desk, since=last_change(self.db_path), until=monotonic() + _WAIT_S)
                return view.build(history, memo)
        except pieces.Missing:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged or foreign file can raise anything: the page reports it
            problem = {"notice": pieces.notice(problem_of(error))}
            return problem if view.is_list else {**problem, view.places[0]: _NOTHING_YET}

    def _page(self, view: AnyView, content: Mapping[str, str]) -> Html:
        return frame(
            view.heading,
            join(
                _place("notice", content),
                tag("h1", view.heading) if view.is_list else None,
                [_place(name, content) for name in view.places],
            ),
            database=self.database,
            path=view.path,
            query=view.which.query() if isinstance(view, TasksView) else None,
            events=events_address(view),
        )

    def _message(self, status: int, title: str, text: str) -> Response:
        return HTMLResponse(message_page(title, text, database=self.database), status)


def _place(name: str, content: Mapping[str, str]) -> Html:
    return tag(
        "div", Html(content.get(name, "")), id=name, data_part=True, **_ATTRIBUTES.get(name, {"tabindex": -1})
    )


def events_address(view: AnyView) -> str:
    """Return the address of a view's event stream."""
    return f"/events{view.path}" + (f"?{urlencode(view.query)}" if view.query else "")


def view_of(scope: Scope) -> AnyView | None:
    """Return the view of an address, with or without ``/events`` before it; ``None`` if there is none.

    Raises:
        HTTPException: 400, the address has too many fields.
    """
    path = scope["path"].removeprefix("/events")
    try:
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=_MAX_FIELDS))
    except ValueError:
        said = f"This address has more than {_MAX_FIELDS} fields after its question mark: remove some."
        raise HTTPException(400, said) from None
    room, _, number = path.strip("/").partition("/")
    found = _number(number)
    try:
        if path == "/":
            return views.OverviewView()
        if path == "/tasks":
            return _tasks_view(query)
        if path == "/runs":
            return views.RunsView(_optional(query.get("before")))
    except ValueError:
        return None
    if found is not None and room == "tasks":
        return views.TaskView(found)
    if found is not None and room == "runs":
        return views.RunView(found)
    return None


def _tasks_view(query: Mapping[str, str]) -> TasksView:
    def text(name: str, longest: int = _MAX_WORD) -> str | None:
        return query.get(name, "").strip()[:longest] or None

    which = TaskFilter(
        status=text("status", 40),
        word=text("q"),
        run_id=_optional(query.get("run")),
        kind=text("kind"),
        message=text("message"),
        within=text("within", 10),
        since=text("since", 40),
        until=text("until", 40),
        slowest=query.get("order") == "slowest",
    )
    return TasksView(which, _optional(query.get("after")))


def _optional(text: str | None) -> int | None:
    """Return an optional number.

    Raises:
        ValueError: It is not a number.
    """
    if not text:
        return None
    number = _number(text)
    if number is None:
        raise ValueError(text)
    return number


def _number(text: str) -> int | None:
    """Return a number that SQLite can store."""
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 20:
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


def _static_route(name: str, kind: str) -> Route:
    if name == "page.css":
        content = style().encode()
    else:
        content = files("pipeloom.web").joinpath("static", name).read_bytes()

    async def answer(request: Request) -> Response:  # noqa: ARG001 - Starlette's signature
        return Response(content, media_type=kind)

    return Route(f"/static/{name}", answer)


def make_app(pages: Pages, port: int) -> ASGIApp:
    """Return the application, which answers only our own page.

    Args:
        pages: What it shows.
        port: The port that ``Host`` must name.
    """

    async def refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
        if isinstance(error, HTTPException) and error.status_code == 400:
            return PlainTextResponse(f"{error.detail}\n", 400)
        return PlainTextResponse("There is no page at this address.\n", 404)

    app = Starlette(
        routes=[
            *(_static_route(name, kind) for name, kind in _STATIC.items()),
            Route("/events{rest:path}", pages.events),
            Route("/{rest:path}", pages.show),
        ],
        lifespan=pages.lifespan,
        exception_handlers={HTTPException: refused},
    )
    return SameOrigin(app, port)
