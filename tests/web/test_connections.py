"""Connections that say nothing, too little or take nothing: they keep nobody else out."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import ExitStack
from time import monotonic

import pytest

from .serving import LIMIT_S

HALF = b"GET /tasks HTTP/1.1\r\nHost: "


def connected(stack: ExitStack, port: int) -> socket.socket:
    """Return a new connection."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S))


def drip(sock: socket.socket, limit_s: float) -> float:
    """Send a byte now and then; return the seconds until the other side has had enough."""
    began, pause = monotonic(), threading.Event()
    while monotonic() - began < limit_s:
        try:
            sock.sendall(b"x")
        except OSError:
            break
        pause.wait(0.02)
    return monotonic() - began


@pytest.mark.parametrize("said", [b"", HALF, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"])
def test_many_idle_connections_keep_nobody_out(serve, db, said):
    """As many as the server takes, and more: the one that has waited longest makes room."""
    server = serve(db)
    with ExitStack() as stack:
        for _ in range(300):
            connected(stack, server.port).sendall(said)
        began = monotonic()
        assert server.ask("/runs")[0] == 200
        assert monotonic() - began < 5
        assert len(server.server.server_state.connections) <= 257


@pytest.mark.parametrize("said", [b"", HALF, b"GET / HTTP/1.1\r\nHost: {}\r\n\r\n"])
def test_a_request_must_be_whole_in_time(serve, db, monkeypatch, said):
    """The first one and the next, whatever comes now and then."""
    monkeypatch.setattr("pipeloom.web.server._REQUEST_S", 0.3)
    server = serve(db)
    with ExitStack() as stack:
        sock = connected(stack, server.port)
        sock.sendall(said.replace(b"{}", f"127.0.0.1:{server.port}".encode()))
        assert drip(sock, 5) < 3


@pytest.mark.parametrize("end", [b"", b"nonsense\r\n\r\n"])
def test_an_answer_must_be_taken_in_time(serve, db, monkeypatch, end):
    """Also that of many requests at once, whose answers wait in the server, and of what it closes by itself."""
    monkeypatch.setattr("pipeloom.web.server._REQUEST_S", 0.3)
    server = serve(db)
    with ExitStack() as stack:
        sock = connected(stack, server.port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /static/live.js HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        sock.sendall(request)
        sock.setblocking(False)
        left = request * 5000 + end  # answers of 50 MB: more than the system takes
        began = monotonic()
        while monotonic() - began < LIMIT_S:
            try:
                left = left[sock.send(left or b"x") :]
            except BlockingIOError:
                threading.Event().wait(0.02)
            except OSError:
                break
        assert monotonic() - began < LIMIT_S
    assert server.ask("/")[0] == 200


def test_a_stream_that_is_read_stays(serve, db, monkeypatch):
    """It waits for no request."""
    monkeypatch.setattr("pipeloom.web.server._REQUEST_S", 0.2)
    monkeypatch.setattr("pipeloom.web.events.BEAT_S", 0.1)
    server = serve(db)
    with ExitStack() as stack:
        sock = connected(stack, server.port)
        sock.sendall(f"GET /events/ HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        heard = b""
        while heard.count(b": still here") < 6:
            chunk = sock.recv(65536)
            assert chunk
            heard += chunk


@pytest.mark.parametrize("path", ["/", "/tasks", "/runs", "/events/", "/events/tasks"])
def test_an_address_with_too_many_fields_is_refused(serve, db, path):
    """With a sentence; what one can have is answered."""
    server = serve(db)
    status, _, text = server.ask(path + "?" + "&".join(["a=b"] * 21))
    assert (status, text) == (
        400, "This address has more than 20 fields after its question mark: remove some.\n",
    )  # fmt: skip
    assert server.ask(path + "?" + "&".join(["a=b"] * 20), "HEAD")[0] == 200


def test_no_request_is_answered_with_500(serve, db):
    """Addresses, fields and headers that nobody would type."""
    server = serve(db)
    chance = random.Random(7)
    pieces = (
        "tasks", "runs", "events", "static", "/", "//", "..", "%00", "%ff", "%", "%zz", "%2e%2e%2f", "1", "-1", "²",
        "9" * 30, "9223372036854775807", "-9223372036854775808", "?", "&", "=", ";", "status=", "q=", "run=", "٣",
        "order=slowest", "after=", "before=", "x" * 300, "%F0%9F%98%80", "#", "+", "'", '"', "<script>", "{}", "[",
        "]", "\\", "%0d%0a",
    )  # fmt: skip
    headers = (
        "Last-Event-ID: 9-9", "Last-Event-ID: " + "9" * 5000, "Last-Event-ID: \xff", "Range: bytes=5-1",
        "If-None-Match: *", "If-Modified-Since: never", "Cookie: " + "a=b;" * 500, "Accept: \x80",
        "Accept-Encoding: gzip", "Content-Length: -1", "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked", "Expect: 100-continue", "Upgrade: websocket", "Connection: upgrade",
        "X-Forwarded-For: ', --", "Origin: null",
    )  # fmt: skip
    for _ in range(400):
        path = "/" + "".join(chance.choice(pieces) for _ in range(chance.randrange(6)))
        method = chance.choice(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "TRACE", "get", "G\x00T"])
        extra = "".join(f"{header}\r\n" for header in chance.sample(headers, chance.randrange(3)))
        target = path.encode("utf-8", "surrogatepass")
        head = f" HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n{extra}\r\n".encode("latin-1")
        with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as sock:
            sock.sendall(method.encode() + b" " + target + head)
            line = sock.recv(15)
        assert line.startswith(b"HTTP/1.1 "), (method, target, extra, line)
        assert line[9:12] in (b"200", b"400", b"403", b"404", b"405", b"413", b"431", b"503"), (
            method,
            target,
            extra,
            line,
        )
