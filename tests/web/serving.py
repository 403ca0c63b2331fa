"""What the tests of the page share: a real server on a free port, and a run that goes on as far as it is told."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import monotonic
from typing import Any, Self

import pytest

import pipeloom
from pipeloom.web.server import PageServer, bound_socket

LIMIT_S = 20


class Server:
    """A page that is served by a thread of this process."""

    def __init__(self, db: Path, *, port: int = 0, **options: Any) -> None:
        started = threading.Event()
        self.server = PageServer(db, bound_socket("127.0.0.1", port), lambda _: started.set(), **options)
        self.url = self.server.url.rstrip("/").replace("localhost", "127.0.0.1")
        self.port = int(self.url.rpartition(":")[2])
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        assert started.wait(LIMIT_S)

    def warm(self) -> Server:
        """Start all reading threads now: one that starts during a test looks like a leak of that test."""
        pool = self.server.pages._pool
        barrier = threading.Barrier(pool._max_workers + 1)
        for _ in range(pool._max_workers):
            pool.submit(barrier.wait, LIMIT_S)
        barrier.wait(LIMIT_S)
        return self

    @property
    def hub(self) -> Any:
        return self.server.pages.hub

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(LIMIT_S)

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
        """Return status, headers and text of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(
                method, path, headers={key.replace("_", "-"): value for key, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Return the answer to a request as it goes over the wire."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S) as sock:
            sock.sendall(request)
            found = b""
            while chunk := sock.recv(65536):
                found += chunk
            return found


class Stream:
    """An open event stream, as a browser reads it."""

    def __init__(self, server: Server, path: str = "/events/", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
        self._connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        self.answer = self._connection.getresponse()
        self.parts: dict[str, str] = {}
        self.last_id = ""
        self.comments = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def line(self) -> str:
        line = self.answer.readline().decode()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def take(self) -> str | None:
        """Read one line; return the name of the part that it brought."""
        line = self.line()
        if line.startswith(":"):
            self.comments += 1
        if line.startswith("id: "):
            self.last_id = line.removeprefix("id: ")
        if not line.startswith("data: "):
            return None
        told = json.loads(line.removeprefix("data: "))
        self.parts[told["part"]] = told["html"]
        return str(told["part"])

    def until(self, part: str, words: str | Callable[[str], bool]) -> str:
        """Read until a part says something; return it."""
        is_so = (lambda html: words in html) if isinstance(words, str) else words
        limit = monotonic() + LIMIT_S
        while not (part in self.parts and is_so(self.parts[part])):
            assert monotonic() < limit, f"{part} never said {words!r}: {self.parts.get(part)}"
            self.take()
        return self.parts[part]


class GatedRun:
    """A run in a thread whose tasks each wait to be let go."""

    def __init__(
        self,
        db: Path,
        items: Iterable[str],
        failing: Iterable[str] = (),
        error: Callable[[str], type[Exception]] = lambda _: ValueError,
        **options: Any,
    ) -> None:
        items = list(items)
        self.gates = {item: threading.Event() for item in items}
        self._failing = set(failing)
        self._error = error
        options = {"workers": len(items), "name": "gated", "on_error": "collect", "progress": False, **options}
        self.thread = threading.Thread(target=lambda: pipeloom.map(self._work, items, db=db, **options))
        self.thread.start()

    def _work(self, item: str, ctx: Any) -> dict[str, str]:
        ctx.progress(1, 4, f"reading {item}")
        assert self.gates[item].wait(LIMIT_S)
        if item in self._failing:
            raise self._error(item)(f"line 7 of {item} is bad")
        return {"read": item}

    def let_go(self, *items: str) -> None:
        for item in items or self.gates:
            self.gates[item].set()

    def finish(self) -> None:
        self.let_go()
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until something is so."""
    limit = monotonic() + LIMIT_S
    while not condition():
        assert monotonic() < limit, "it never came to that"
        threading.Event().wait(0.01)


def make_endless(db: Path) -> None:
    """Put a view that never ends in the place of the table of tasks."""
    others = [
        "message",
        "started_at",
        "finished_at",
        "result",
        "pipeline_id",
        "key",
        "error",
        "worker",
        "elapsed_s",
    ]
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("ALTER TABLE task_runs RENAME TO was")
        conn.execute(
            "CREATE VIEW task_runs AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, "
            "'x' AS name, 'error' AS status, 0.0 AS progress, 1 AS run_id, 1 AS attempt, 0 AS rows_written, "
            + ", ".join(f"NULL AS {name}" for name in others)
            + " FROM n"
        )
        conn.commit()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Serve a database file."""
    with ExitStack() as stack:

        def begin(db: Any, **options: Any) -> Server:
            server = Server(db, **options)
            stack.callback(server.stop)
            return server

        yield begin


@pytest.fixture
def gated() -> Iterator[Callable[..., GatedRun]]:
    """Begin a run whose tasks wait to be let go."""
    with ExitStack() as stack:

        def begin(*args: Any, **options: Any) -> GatedRun:
            run = GatedRun(*args, **options)
            stack.callback(run.finish)
            return run

        yield begin
