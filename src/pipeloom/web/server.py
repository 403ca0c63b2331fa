"""The HTTP server: a loopback socket, uvicorn, and a shutdown that does not wait for clients."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeloom.data.text import clean
from pipeloom.web.app import Pages, make_app
from pipeloom.web.hub import MAX_VIEWERS
from pipeloom.web.same_origin import misdirected

__all__ = ["AddressError", "PageServer", "bound_socket", "serve"]

_MAX_CONNECTIONS: Final = 256
_REQUEST_S: Final = 10.0  # for a whole request, and for each part of an answer
_END_S: Final = 1


class AddressError(ValueError):
    """The address cannot be served; the message says why."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket on the loopback interface; blocks at most for a lookup of ``localhost``.

    Raises:
        AddressError: The host is not a loopback address, or the port is not available.
    """
    name = host.strip("[]")
    try:
        address = ipaddress.ip_address("127.0.0.1" if name.lower() == "localhost" else name)
    except ValueError:
        address = None
    # Only the addresses that a browser may use in Host: 127.0.0.2 would answer no request.
    if address is None or str(address) not in ("127.0.0.1", "::1"):
        raise AddressError(
            f"--host {clean(host, 80)}: the page has no password, so it is only served to this machine (127.0.0.1 "
            f"or ::1); from another machine, use a tunnel: ssh -L {port}:localhost:{port} MACHINE"
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    sock = None
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there, it would let two servers share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((str(address), port))
        sock.listen(128)
    except OSError as error:
        if sock is not None:
            sock.close()
        if error.errno == errno.EADDRINUSE:
            why = "another program uses this port, perhaps another pipeloom web: choose one with --port"
        elif error.errno == errno.EACCES:
            why = "this port needs higher privileges: choose one above 1023 with --port"
        else:
            why = f"cannot listen there ({error.strerror})"
        raise AddressError(f"{address} port {port}: {why}") from None
    return sock


def serve(db_path: Path, sock: socket.socket, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; blocks. Runs in the main thread, unless something else ends it.

    Args:
        db_path: The ledger; need not exist yet.
        sock: A listening socket; closed at the end.
        announce: Called with the address once it is served.
    """
    try:
        PageServer(db_path, sock, announce).run()
    except KeyboardInterrupt:  # uvicorn raises the signal again once everything is closed
        pass
    finally:
        sock.close()


class _Protocol(H11Protocol):
    """One connection, which cannot keep others out.

    uvicorn waits for a request as long as its client likes, as long as a byte arrives now and then. Here, a request
    must arrive in time and an answer must be received in time, or the connection is closed; if there are too many
    connections, the one that has waited longest is closed. A missing or repeated ``Host`` is answered like a
    foreign one in :mod:`same_origin`; h11 alone would refuse it first.
    """

    deadline: asyncio.TimerHandle | None = None  # while waiting for a request, or for an answer to be received
    _untaken = 0  # bytes of answers, at the last look

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room, and start waiting."""
        if len(self.connections) >= _MAX_CONNECTIONS - 1:
            self._make_room()
        super().connection_made(transport)
        self._watch()

    def _make_room(self) -> None:
        """Close the connection that has waited longest, if one waits."""
        waiting = [other for other in self.connections if isinstance(other, _Protocol) and other.deadline]
        if waiting:
            longest = min(waiting, key=_Protocol.waits_until)
            longest.transport.abort()
            longest.stop_watching()
            self.connections.discard(longest)  # the loop reports the loss only after others have connected

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self.stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle data: a request may now be complete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request; this answer may still be on its way."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to receive what was sent."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop waiting for that."""
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        """Start or stop waiting, depending on the state."""
        is_open = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        # A closing connection still waits for the client to receive what was sent.
        if not (is_open or self.flow.write_paused or self.transport.is_closing()):
            self.stop_watching()
        elif self.deadline is None:
            self._untaken = self.transport.get_write_buffer_size()
            self.deadline = self.loop.call_later(_REQUEST_S, self._give_up)

    def stop_watching(self) -> None:
        """Stop waiting."""
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def waits_until(self) -> float:
        """Return when the connection will be closed, on the loop's clock."""
        return self.deadline.when() if self.deadline is not None else 0.0

    def _give_up(self) -> None:
        """Close the connection, unless its client is still receiving the last answer."""
        self.deadline = None
        if 0 < self.transport.get_write_buffer_size() < self._untaken:
            self._watch()
        else:
            self.transport.abort()  # closing it would wait for the client to receive the rest

    def send_400_response(self, msg: str) -> None:
        if "Host" not in str(sys.exc_info()[1]):
            super().send_400_response(msg)
            return
        body = misdirected(self.server[1] if self.server and self.server[1] else 0).encode()
        head = (
            "HTTP/1.1 421 Misdirected Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


class PageServer(uvicorn.Server):
    """uvicorn, without output, on one socket; shutdown closes the streams instead of waiting for their readers."""

    def __init__(
        self,
        db_path: Path,
        sock: socket.socket,
        announce: Callable[[str], None] = lambda _: None,
        *,
        max_viewers: int = MAX_VIEWERS,
    ) -> None:
        self._sock = sock
        self._announce = announce
        port = sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/" if sock.family == socket.AF_INET else f"http://[::1]:{port}/"
        self.pages = Pages(db_path, abort=self._abort, max_viewers=max_viewers)
        super().__init__(
            uvicorn.Config(
                make_app(self.pages, port),
                http=_Protocol,
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=_END_S,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; blocks."""
        super().run(sockets=sockets or [self._sock])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then announce the address."""
        await super().startup(sockets=sockets)
        self._announce(self.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then shut down."""
        self.pages.hub.end_streams()
        await super().shutdown(sockets=sockets)

    def _abort(self, client: Any) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol) and connection.client == client:
                connection.transport.abort()
