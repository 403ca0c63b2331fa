"""Limits against a real service: a web server that counts requests, and refuses those that come too fast."""

from __future__ import annotations

import sqlite3
import sys
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from time import monotonic

from faults.tools import children, until

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


def crawl(url, ctx):
    """Find five further pages on each of two hosts, and one that is known."""
    began = monotonic()
    _, number = url.split("/")
    if int(number) < 10:
        ctx.add(*[f"{one}/{10 * int(number) + n}" for one in ("a", "b") for n in range(5)], url)
    return [began, monotonic()]


def test_inputs_that_are_found_keep_the_limits_too(db):
    """Those that were read and those that were found are counted together, and none is lost while it waits."""
    limit = Limit(rate=2000, at_once=1, per=lambda url: url.split("/")[0])
    report = pipeloom.map(crawl, ["a/1", "b/1"], db=db, limit=limit, workers=8, progress=False, durability="off")

    assert report.done == 2 + 2 * 5
    for host in "ab":
        spans = sorted(span for url, span in report.results() if url.startswith(host))
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_a_try_that_waits_for_a_limit_is_done_by_the_next_run(db, read, tmp_path):
    """The program is killed meanwhile: the failed try is on file, and nothing is lost."""
    program = tmp_path / "program.py"
    program.write_text(
        "import pipeloom\n"
        "def f(n, ctx):\n"
        "    if ctx.attempt == 1:\n"
        "        ctx.slow_down(1000)\n"
        "        raise ValueError(n)\n"
        f"pipeloom.map(f, [7], db={str(db)!r}, name='n', retries=pipeloom.Retry(2, delay_s=0.0), progress=False)\n"
    )
    with children() as start:
        child = start([sys.executable, str(program)])
        until(lambda: db.exists() and queued(db), "the failed try is on file", child)
        child.process.kill()
        child.wait()

    assert pipeloom.map(str, [7], db=db, name="n", progress=False).done == 1
    assert read(db, "SELECT status FROM task_runs") == [("done",)]


def queued(db):
    """Say whether a try waits, as the file has it."""
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
            return conn.execute("SELECT count(*) FROM task_runs WHERE status = 'queued'").fetchone()[0]
    except sqlite3.Error:
        return False  # it is being made
