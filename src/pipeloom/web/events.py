"""Server-sent events: one stream per open page.

Runs in the event loop. A viewer that accepts nothing for ten seconds is dropped; a browser that is merely slow gets
fewer, newer versions.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import PlainTextResponse

from pipeloom.web.hub import TooManyViewersError, Viewer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from pipeloom.web.hub import Hub, View

__all__ = ["BEAT_S", "SLOW_S", "Events"]

BEAT_S: Final = 10.0
SLOW_S: Final = 10.0
_RETRY_MS: Final = 1000
_OPEN: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
)


class Events:
    """The ASGI application behind ``/events…``.

    Args:
        hub: The source of the events.
        view_of: Returns the view for a request; ``None`` if there is none.
        abort: Cuts the connection of a client's address, without waiting for unsent data.
    """

    def __init__(
        self,
        hub: Hub,
        view_of: Callable[[Scope], View | None],
        abort: Callable[[Any], None],
    ) -> None:
        self._hub = hub
        self._find = view_of
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: with the stream, or with a refusal."""
        view = self._find(scope)
        if view is None:
            await PlainTextResponse("There is no page at this address.\n", 404)(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await PlainTextResponse("", 200, media_type="text/event-stream")(scope, receive, send)
            return
        try:
            seen = dict(scope["headers"]).get(b"last-event-id", b"").decode("latin-1")
            viewer = self._hub.join(view, seen[:40])
        except TooManyViewersError as error:
            refusal = PlainTextResponse(f"{error}.\n", 503, {"retry-after": "5"})
            await refusal(scope, receive, send)
            return
        listener = asyncio.create_task(_wait_for_the_end(receive, viewer))
        try:
            await self._stream(viewer, send)
        except TimeoutError:
            self._abort(scope["client"])
        finally:
            self._hub.part(viewer)
            listener.cancel()

    async def _stream(self, viewer: Viewer, send: Send) -> None:
        async def say(body: bytes, *, more: bool = True) -> None:
            message = {"type": "http.response.body", "body": body, "more_body": more}
            await asyncio.wait_for(send(message), SLOW_S)

        await send({"type": "http.response.start", "status": 200, "headers": list(_OPEN)})
        await say(f"retry: {_RETRY_MS}\n\n".encode())
        while not viewer.gone:
            try:
                await asyncio.wait_for(viewer.ready.wait(), BEAT_S)
            except TimeoutError:
                await say(b": still here\n\n")
                continue
            if not viewer.gone:
                await say(viewer.take())
        await say(b"", more=False)


async def _wait_for_the_end(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.leave()
