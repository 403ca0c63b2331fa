"""Who may ask, our own page and no other: the outermost layer, before anything is read.

A page on the loopback interface can be reached by every web site that its user visits: by a form, a script, or a
name that is made to point to 127.0.0.1. So: GET and HEAD only, one ``Host`` that is ours, no other site's request.
Runs in the event loop; never blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["LOOPBACK", "SameOrigin", "hosts_for", "misdirected"]

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")

# Source: https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
_POLICY: Final = (
    "default-src 'none'; "
    "style-src 'self'; "
    "script-src 'self'; "
    "connect-src 'self'; "
    "img-src 'self'; "
    "base-uri 'none'; "
    "form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = tuple(
    (name.encode(), value.encode())
    for name, value in (
        ("content-security-policy", _POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    )
)


def hosts_for(port: int) -> frozenset[str]:
    """Return the values of ``Host`` that mean this server; 80 is the port that browsers leave out."""
    named = {f"{name}:{port}" for name in LOOPBACK}
    return frozenset(named | set(LOOPBACK) if port == 80 else named)


def misdirected(port: int) -> str:
    """Return what a request for another host is told."""
    return (
        f"This page answers only to http://localhost:{port}/ and http://127.0.0.1:{port}/ (header Host). "
        "Through a tunnel, use the same port number on both sides: "
        f"ssh -L {port}:localhost:{port} MACHINE\n"
    )


class SameOrigin:
    """Middleware that refuses requests of other sites and for other hosts, and puts safety headers on every answer.

    Args:
        app: What answers the others.
        port: The port that ``Host`` must name.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port
        self._hosts = hosts_for(port)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refusal(scope)
            await (self._app if refused is None else refused)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        def values(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page only shows: GET and HEAD.\n", 405, {"allow": "GET, HEAD"})
        hosts = values(b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse(misdirected(self._port), 421)
        # A browser sends Origin with a plain GET only when a script of another origin asks; "null" is a sandbox.
        if not self._origins.issuperset(value.lower() for value in values(b"origin")):
            return PlainTextResponse("Refused: another site asked (header Origin).\n", 403)
        # Every port of localhost is one site: same-site is another program's page, too.
        if not {"same-origin", "none"}.issuperset(values(b"sec-fetch-site")):
            return PlainTextResponse(
                "Refused: the link is on another site's page (header Sec-Fetch-Site). "
                "Type or paste the address instead.\n",
                403,
            )
        return None


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return sender
