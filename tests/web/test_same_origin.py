"""Who may ask: against a real server, since part of the refusals come from below the application."""

from __future__ import annotations

import pytest

from .serving import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A page of a file that is not there: what is refused is refused before anything is read."""
    server = Server(tmp_path_factory.mktemp("served") / "out.db").warm()
    yield server
    server.stop()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
def test_our_own_names_are_answered(server, name):
    """With the port that we listen on, in any case."""
    assert server.ask("/", Host=f"{name}:{server.port}")[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost", "localhost:1", "127.0.0.2:{port}", "localhost.:{port}",
     "localhost:{port}.evil.example", "", "user@localhost:{port}", "localhost:{port},evil"],
)  # fmt: skip
def test_a_foreign_host_is_misdirected(server, host):
    """A name that was made to point here is not ours; the answer says what is."""
    status, _, text = server.ask("/", Host=host.format(port=server.port))

    assert status == 421
    assert f"http://localhost:{server.port}/" in text


@pytest.mark.parametrize("path", ["/", "/events/", "/static/live.js"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("hosts", [0, 2])
def test_a_missing_or_doubled_host_is_misdirected(server, path, version, hosts):
    """On every path, in both versions of HTTP."""
    lines = f"Host: localhost:{server.port}\r\n" * hosts
    answer = server.raw(f"GET {path} HTTP/{version}\r\n{lines}\r\n".encode())

    assert status_of(answer) == 421, answer


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"])
def test_nothing_but_get_and_head(server, method):
    """There is nothing to change."""
    status, headers, _ = server.ask("/", method)

    assert status == 405
    assert headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "https://localhost:{port}"},
        {"Origin": "http://localhost:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "nonsense"},
        {"Origin": "http://localhost:{port}", "Sec_Fetch_Site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/events/", "/static/web.css"])
def test_another_site_is_forbidden(server, path, headers):
    """Whatever it asks for."""
    filled = {key: value.format(port=server.port) for key, value in headers.items()}

    assert server.ask(path, **filled)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec_Fetch_Site": "same-origin"},
    ],
)
def test_our_own_page_and_what_is_typed_are_answered(server, headers):
    """An old browser sends neither header."""
    filled = {key: value.format(port=server.port) for key, value in headers.items()}

    assert server.ask("/", **filled)[0] == 200


@pytest.mark.parametrize(
    "path", ["/", "/tasks", "/nowhere", "/static/live.js", "/static/nowhere", "/events/nowhere"]
)
def test_every_answer_carries_the_safety_headers(server, path):
    """Also what is not there."""
    _, headers, _ = server.ask(path)
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"


def test_a_refusal_carries_them_too(server):
    """And is plain text."""
    _, headers, _ = server.ask("/", Host="evil.example")

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "//etc/passwd", "/static//etc/passwd"]
)
def test_no_file_but_its_own_is_served(server, path):
    """The static files are held in memory, by name."""
    assert server.ask(path)[0] == 404


def test_nonsense_is_a_bad_request(server):
    """And not our fault."""
    assert status_of(server.raw(b"nonsense\r\n\r\n")) == 400
