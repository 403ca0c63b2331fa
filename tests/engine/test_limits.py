"""Limits against a real service: a web server that counts requests, and refuses those that come too fast."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pipeloom
from pipeloom import Limit


class Server(ThreadingHTTPServer):
    """Answers 429 beyond so many requests in any time of such a length.

    Attributes:
        answered, refused: How many requests were.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, most: int, window_s: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._most, self._window_s = most, window_s
        self._seen: deque[float] = deque()
        self._lock = threading.Lock()
        self.answered = self.refused = 0

    def lets_in(self) -> bool:
        """Count a request."""
        with self._lock:
            now = monotonic()
            while self._seen and self._seen[0] <= now - self._window_s:
                self._seen.popleft()
            self._seen.append(now)
            if len(self._seen) > self._most:
                self.refused += 1
                return False
            self.answered += 1
            return True


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        body = b"here you are"
        self.send_response(200 if self.server.lets_in() else 429)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(most: int, window_s: float) -> Iterator[tuple[Server, str]]:
    """Have a server, and its address."""
    with Server(most, window_s) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def fetch(url, ctx):
    """Get a page; when it is refused, have the others wait, too."""
    try:
        with urllib.request.urlopen(url, timeout=20) as page:
            return page.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 429:
                ctx.slow_down(0.55)
            raise


def test_a_hundred_requests_within_its_limit_are_all_answered(db):
    """The server would take twice as many as are sent."""
    with serving(50, 0.25) as (server, address):
        pipeloom.map(
            fetch, [f"{address}/{n}" for n in range(100)], db=db, limit=Limit(rate=100, burst=5), workers=8,
            progress=False, durability="off",
        )  # fmt: skip

        assert (server.answered, server.refused) == (100, 0)


def test_a_run_that_is_refused_slows_down_and_comes_through(db):
    """Without limits: each 429 has the whole run wait for longer than the server looks back."""
    with serving(10, 0.5) as (server, address):
        report = pipeloom.map(
            fetch, [f"{address}/{n}" for n in range(25)], db=db, retries=pipeloom.Retry(9, delay_s=0.0), workers=8,
            progress=False, durability="off",
        )  # fmt: skip

        assert report.done == server.answered == 25
        assert 0 < server.refused < 8 * 4  # those that were on their way when the first of them came back
