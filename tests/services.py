"""Services of others, as small real servers on this machine: a site, an API that says 429, jobs that take time.

Each answers in threads of its own, and remembers what it was asked, in order.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["Asked", "Jobs", "Limited", "Service", "Site", "serve"]


@dataclass(frozen=True)
class Asked:
    """One request: when it came (seconds, monotonic), for what, with what, and which status was answered."""

    at: float
    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 0


Answer = tuple[int, Mapping[str, str], bytes]


class Service:
    """What a server of ours answers; ``asked`` is what it was asked, ``most_at_once`` how many at the same time."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def answer(self, asked: Asked) -> Answer:
        """Return status, headers and body; called with the lock of the service."""
        raise NotImplementedError

    def hear(self, asked: Asked) -> Answer:
        """Answer a request, and remember it."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.hold(asked)
            with self._lock:
                status, headers, body = self.answer(asked)
                self.asked.append(Asked(asked.at, asked.method, asked.path, asked.body, asked.query, status))
            return status, headers, body
        finally:
            with self._lock:
                self._at_once -= 1

    def hold(self, asked: Asked) -> None:
        """Keep this request waiting, in its thread and without the lock."""

    def times(self, status: int = 200) -> Counter[str]:
        """How often each path was answered so."""
        return Counter(asked.path for asked in self.asked if asked.status == status)


class Site(Service):
    """Pages: path → the HTML of it; any other path is a 404. Those that are ``held`` wait for ``release``."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        super().__init__()
        self.pages = dict(pages)
        self.held: set[str] = set()
        self.waiting = 0
        self.release = threading.Event()

    def hold(self, asked: Asked) -> None:
        if asked.path in self.held:
            with self._lock:
                self.waiting += 1
            self.release.wait(30)

    def answer(self, asked: Asked) -> Answer:
        page = self.pages.get(asked.path)
        return (404, {}, b"") if page is None else (200, {"Content-Type": "text/html"}, page.encode())


class Limited(Service):
    """Answers what ``reply`` makes of a request, as JSON; one in ``every`` gets a 429 and a ``Retry-After`` first.

    Queries and bodies that hold a word of ``bad`` are refused for good, with a 400.
    """

    def __init__(self, reply: Callable[[Asked], object], *, every: int, retry_after: str = "0.05") -> None:
        super().__init__()
        self.reply = reply
        self.every = every
        self.retry_after = retry_after
        self.bad: set[str] = set()
        self._refused: set[str] = set()

    def answer(self, asked: Asked) -> Answer:
        what = json.dumps(asked.body) if asked.body else json.dumps(asked.query)
        if any(word in what for word in self.bad):
            return 400, {}, b"{}"
        if len(self.asked) % self.every == 0 and what not in self._refused:
            self._refused.add(what)
            return 429, {"Retry-After": self.retry_after}, b"{}"
        return 200, {}, json.dumps(self.reply(asked)).encode()


class Jobs(Service):
    """``POST /jobs`` takes a job, ``GET /jobs/N`` answers 202 until it was asked for ``polls`` times, then 200."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.polls = polls
        self.jobs: dict[int, Any] = {}
        self._polled: Counter[int] = Counter()

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "POST":
            number = len(self.jobs) + 1
            self.jobs[number] = asked.body
            return 201, {}, json.dumps({"id": number}).encode()
        number = int(asked.path.rpartition("/")[2])
        self._polled[number] += 1
        if self._polled[number] <= self.polls:
            return 202, {"Retry-After": "0.05"}, json.dumps({"id": number}).encode()
        return 200, {}, json.dumps({"id": number, "url": f"/done/{number}"}).encode()


class _RequestHandler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, headers, answer = self.server.service.hear(Asked(monotonic(), self.command, url.path, body, query))
        try:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
        except ConnectionError:  # whoever asked was killed, or has given up
            self.close_connection = True

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.service = service


@contextmanager
def serve(service: Service) -> Iterator[Service]:
    """Have a service answer, on a free port, while the block runs; its ``address`` has no slash at its end."""
    server = _Server(service)
    service.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield service
    finally:
        if isinstance(service, Site):
            service.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
