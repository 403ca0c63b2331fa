"""``pipeloom web``, as typed."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from time import monotonic

import pytest

import pipeloom
from pipeloom.web.server import AddressError, bound_socket

from .serving import make_endless

LIMIT_S = 30


def command(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeloom", "web", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.fixture
def typed():
    """Type the command; what still runs at the end of the test is killed."""
    with ExitStack() as stack:

        def begin(*words, **options):
            process = stack.enter_context(command(*words, **options))
            stack.callback(process.kill)
            return process

        yield begin


def refused(typed, *words):
    """Return the one line that a refused command says."""
    out, err = (process := typed(*words)).communicate(timeout=LIMIT_S)
    assert (process.returncode, out) == (2, "")
    assert err.count("\n") == 1, err
    return err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_says_where_and_ends_at_once(typed, db, number, code):
    """With open streams, too; Ctrl-C is how one ends it, so that is success."""
    pipeloom.map(str, range(3), db=db, progress=False)
    process = typed("--db", db, "--port", 0)
    line = process.stdout.readline()
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line)[1])
    with ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S))
            sock.sendall(f"GET /events/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            found = b""
            while b"data: " not in found:
                found += sock.recv(65536)
        began = monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)

    assert process.returncode == code
    assert (out, err) == ("", "")
    assert monotonic() - began < 3
    assert str(db) in line


@pytest.mark.slow
def test_a_look_under_way_is_not_waited_for(typed, db):
    """Of a page that takes its whole deadline, and of the reader behind a stream."""
    pipeloom.map(str, range(3), db=db, progress=False)
    make_endless(db)
    process = typed("--db", db, "--port", 0)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())[1])
    with ExitStack() as stack:
        for path in ("/tasks", "/tasks?q=y", "/events/tasks"):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert b"retry: 1000" in sock.recv(65536) + sock.recv(65536)
        began = monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0
    assert monotonic() - began < 3


@pytest.mark.slow
def test_a_taken_port_is_said_in_one_line(typed, db):
    """With what to do."""
    with bound_socket("127.0.0.1", 0) as taken:
        said = refused(typed, "--db", db, "--port", taken.getsockname()[1])

    assert "another program uses this port" in said
    assert "--port" in said


@pytest.mark.slow
def test_without_the_extra_it_says_how_to_get_it(typed, db, tmp_path):
    """One line, and the words to type."""
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')")
    process = typed("--db", db, env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"})
    out, err = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, out) == (2, "")
    assert err == "Error: pipeloom web needs starlette: pip install 'pipeloom[web]'\n"


@pytest.mark.slow
def test_a_directory_is_no_database(typed, tmp_path):
    """Said before anything is served."""
    assert "is a directory" in refused(typed, "--db", tmp_path, "--port", 0)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.0.2.1", "127.0.0.2", "example.org", "", "localhost.example"]
)
def test_only_this_machine_is_served(host):
    """The sentence says why, and what to do instead."""
    with pytest.raises(AddressError, match=r"only served to this machine.*ssh -L 8000:localhost:8000"):
        bound_socket(host, 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_a_loopback_name_is_served(host):
    """Port 0 takes a free one."""
    with bound_socket(host, 0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.getsockname()[1] > 0


def test_the_loopback_of_ipv6_is_served():
    """With or without brackets; a machine without it says so."""
    for host in ("::1", "[::1]"):
        try:
            with bound_socket(host, 0) as sock:
                assert sock.getsockname()[0] == "::1"
        except AddressError as error:
            assert "::1 port 0: cannot listen there" in str(error)  # noqa: PT017 - either is right
