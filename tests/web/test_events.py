"""Event streams: how they begin, stay open and are cut."""

from __future__ import annotations

import socket
from time import monotonic

import pipeloom

from .serving import LIMIT_S, Stream, wait_until


def test_the_first_words_say_how_soon_to_come_back(serve, db):
    """And the stream is what browsers take for one."""
    with Stream(serve(db)) as stream:
        assert stream.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert stream.line() == "retry: 1000"


def test_a_quiet_stream_has_a_beat(serve, db, monkeypatch):
    """So that a dead connection is noticed from either side."""
    monkeypatch.setattr("pipeloom.web.events.BEAT_S", 0.05)
    with Stream(serve(db)) as stream:
        while stream.comments < 3:
            stream.take()


def test_one_viewer_too_many_is_told_so(serve, db):
    """In plain text, and there is room again once somebody leaves."""
    server = serve(db, max_viewers=2)
    with Stream(server) as one:
        with Stream(server) as two:
            one.until("notice", "no such file")
            two.until("notice", "no such file")
            status, headers, text = server.ask("/events/")
            assert status == 503
            assert headers["content-type"].startswith("text/plain")
            assert "close one" in text
            assert server.ask("/")[0] == 200
        wait_until(lambda: server.hub.viewers == 1)
        with Stream(server) as three:
            three.until("notice", "no such file")


def test_a_viewer_who_takes_nothing_is_dropped(serve, db, monkeypatch):
    """Its connection is cut, and the others do not notice."""
    monkeypatch.setattr("pipeloom.web.events.SLOW_S", 0.2)
    page = "x" * 400_000

    class Loud:
        rest_s = 0.0
        number = 0

        def build(self, history, memo):
            Loud.number += 1
            memo.again = True
            return {"run": f"{page}{Loud.number}"}

    monkeypatch.setattr("pipeloom.web.hub.LOOK_S", 0.01)
    pipeloom.map(str, range(3), db=db, progress=False)
    loud = Loud()
    server = serve(db)
    monkeypatch.setattr(server.server.pages.events, "_find", lambda scope: loud)
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", server.port))
        lazy.sendall(f"GET /events/ HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
        wait_until(lambda: server.hub.viewers == 1)
        with Stream(server) as brisk:
            brisk.until("run", page)
            limit = monotonic() + LIMIT_S
            while server.hub.viewers > 1:
                assert monotonic() < limit
                brisk.take()
            brisk.take()
