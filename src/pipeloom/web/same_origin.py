"""Accept requests from our own page only: the outermost layer, before anything is read.

Every website that the user visits can reach a page on the loopback interface: with a form, a script, or a name that
resolves to 127.0.0.1. Therefore only GET and HEAD are accepted, with exactly one ``Host`` that is ours, and no
requests from other sites. Runs in the event loop; never blocks.
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
    """Return the values of ``Host`` that mean this server; browsers omit port 80."""
    named = {f"{name}:{port}" for name in LOOPBACK}
    return frozenset(named | set(LOOPBACK) if port == 80 else named)


def misdirected(port: int) -> str:
    """Return the answer to a request for another host."""
    return (
        f"This page answers only to http://localhost:{port}/ and http://127.0.0.1:{port}/ (header Host). "
        "Through a tunnel, use the same port number on both sides: "
        f"ssh -L {port}:localhost:{port} MACHINE\n"
    )


class SameOrigin:
    """Middleware that refuses requests from other sites and for other hosts, and adds security headers to answers.

    Args:
        app: Answers all other requests.
        port: The port that ``Host`` must name.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._port = port
        self._hosts = hosts_for(port)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refused = self._refusal(scope)
            await (self._app if refused is None else refused)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        def values(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page is read-only: use GET or HEAD.\n", 405, {"allow": "GET, HEAD"})
        hosts = values(b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return PlainTextResponse(misdirected(self._port), 421)
        # A browser sends Origin with a plain GET only for a script of another origin; "null" is a sandbox.
        if not self._origins.issuperset(value.lower() for value in values(b"origin")):
            return PlainTextResponse("Refused: the request came from another site (header Origin).\n", 403)
        # All ports of localhost are one site: same-site may be another program's page.
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
