"""The download example: whole files under safe names, going on where it was, and a table that is right."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from misplaced import misplace

from pipeloom import TasksFailedError
from pipeloom.examples import download

CONTENT = os.urandom(300_000)


class RequestHandler(BaseHTTPRequestHandler):
    """Serves ``server.contents``; breaks off, or waits, where ``server.limits`` says."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        if self.path not in server.contents:
            self.send_error(404)
            return
        server.asked.append((self.path, asked))
        content, tag = server.contents[self.path], server.tags.get(self.path, '"1"')
        begin = int(asked[6:-1]) if asked and self.headers.get("If-Range") == tag and server.ranges else 0
        if begin > len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if server.promises:
            self.send_header("Content-Length", str(len(content) - begin))
        if tag:
            self.send_header("ETag", tag)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        limit = server.limits.pop(self.path, None)
        self.wfile.write(content[begin:limit])
        if limit is not None and server.waits:
            self.wfile.flush()
            server.go_on.wait(20)

    def log_message(self, *_):
        pass


@contextmanager
def serving(contents):
    """A server of the test's own, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    server.daemon_threads = False
    server.contents, server.tags, server.limits, server.asked = dict(contents), {}, {}, []
    server.ranges, server.waits, server.go_on, server.promises = True, False, threading.Event(), True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server():
    """Two files."""
    with serving({"/one.bin": CONTENT, "/two.bin": b"two"}) as server:
        yield server


@pytest.fixture
def get(server, db, tmp_path):
    """Download paths of the server, quietly."""

    def run(*paths, **options):
        return download.main([server.url + path for path in paths], db, to=tmp_path / "to", **options)

    return run


def files_in(folder) -> dict[str, bytes]:
    """Return everything in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_and_table_agree(server, get, db, tmp_path, read):
    """Name, size and SHA-256; a second call asks for nothing."""
    assert get("/one.bin", "/two.bin").done == 2
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT, "two.bin": b"two"}
    digests = [
        (name, len(data), hashlib.sha256(data).hexdigest()) for name, data in files_in(tmp_path / "to").items()
    ]
    assert read(db, "SELECT name, bytes, sha256 FROM downloads ORDER BY name") == sorted(digests)

    asked = len(server.asked)
    assert get("/one.bin", "/two.bin").skipped == 2
    assert len(server.asked) == asked


def test_what_broke_off_goes_on_where_it_was(server, get, tmp_path):
    """Only the rest is asked for."""
    server.limits["/one.bin"] = 100_000
    with pytest.raises(TasksFailedError, match="broken off after 100,000 of 300,000 bytes"):
        get("/one.bin", retries=0)
    assert [name for name in files_in(tmp_path / "to") if name.endswith(".bin")] == []
    report = get("/one.bin")

    assert server.asked == [("/one.bin", None), ("/one.bin", "bytes=100000-")]
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT}
    assert [result["continued_from"] for _, result in report.results()] == [100_000]


def test_it_is_tried_again_by_itself(server, get, db, tmp_path, read):
    """And goes on where it was then, too; what is no passing trouble is not tried again."""
    server.limits["/one.bin"] = 100_000
    with pytest.raises(TasksFailedError, match="404"):
        get("/one.bin", "/none")

    assert set(server.asked) == {("/one.bin", None), ("/one.bin", "bytes=100000-")}
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT}
    assert read(db, "SELECT attempt, status FROM pipeloom_history ORDER BY 1, 2") == [
        (1, "error"),
        (1, "error"),
        (2, "done"),
    ]


def test_content_that_has_changed_meanwhile_is_not_mixed(server, get, tmp_path):
    """The server's answer is whole then, whether or not it knows ranges."""
    for ranges in (True, False):
        server.ranges = ranges
        path = f"/changes-{ranges}.bin"
        server.contents[path] = CONTENT
        server.limits[path] = 100_000
        with pytest.raises(TasksFailedError):
            get(path, retries=0)
        server.contents[path], server.tags[path] = CONTENT[::-1], '"2"'
        get(path)
        assert (tmp_path / "to" / path[1:]).read_bytes() == CONTENT[::-1]


def test_without_a_version_it_begins_again(server, get, tmp_path):
    """A weak tag, or none, does not name the very content."""
    server.tags["/one.bin"] = 'W/"1"'
    server.limits["/one.bin"] = 100_000
    get("/one.bin")

    assert server.asked == [("/one.bin", None)] * 2
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT}


def test_killed_in_the_middle_it_goes_on(server, get, db, tmp_path, killed):
    """SIGKILL: nothing under its name, what has come is kept, and only the rest is asked for."""
    server.limits["/one.bin"] = 200_000
    server.waits = True
    program = (
        "from pathlib import Path; from pipeloom.examples import download; "
        f"download.main([{server.url + '/one.bin'!r}], Path({str(db)!r}), to=Path('to'))"
    )
    killed(program, lambda: any(path.stat().st_size >= 100_000 for path in (tmp_path / "to").glob("*.part")))
    server.go_on.set()
    (part,) = (tmp_path / "to").glob("*.part")
    have = part.stat().st_size

    assert part.read_bytes() == CONTENT[:have]
    assert not (tmp_path / "to" / "one.bin").exists()
    get("/one.bin")
    assert server.asked[1:] == [("/one.bin", f"bytes={have}-")]
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT}


def test_verify_notices_what_is_missing_or_changed(server, get, tmp_path, read, db):
    """And gets just that again."""
    server.contents["/three.bin"] = b"three"
    paths = ("/one.bin", "/two.bin", "/three.bin")
    get(*paths)
    (tmp_path / "to" / "one.bin").unlink()
    (tmp_path / "to" / "two.bin").write_bytes(b"TWO")

    assert get(*paths).skipped == 3
    report = get(*paths, verify=True)
    assert (report.done, report.skipped) == (2, 1)
    assert files_in(tmp_path / "to") == {"one.bin": CONTENT, "two.bin": b"two", "three.bin": b"three"}
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT url) FROM downloads") == [(3, 3)]
    assert get(*paths, verify=True).skipped == 3


def test_two_urls_of_one_name_are_two_files(server, get, tmp_path, read, db):
    """Also when they differ by case only, in another call, or when a file of one's own has the name."""
    contents = {"/a/x.csv": b"a", "/b/x.csv": b"b", "/b/X.csv": b"B", "/b/x.csv?y=1": b"by", "/c/mine.csv": b"c"}
    server.contents.update(contents)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.csv").write_bytes(b"my own")
    get("/a/x.csv", "/b/x.csv", "/b/X.csv", "/c/mine.csv")
    get("/b/x.csv?y=1", "/a/x.csv")

    listed = read(db, "SELECT url, name FROM downloads")
    assert {url.removeprefix(server.url): (tmp_path / "to" / name).read_bytes() for url, name in listed} == contents
    assert len({name.lower() for _, name in listed}) == 5
    assert (tmp_path / "to" / "mine.csv").read_bytes() == b"my own"


def test_no_file_and_no_server_are_sentences(server, get, db, tmp_path):
    """What the server answers; and that there is none."""
    with pytest.raises(TasksFailedError) as caught:
        get("/one.bin", "/no%20such")
    ((key, said),) = [(failure.key, failure.message) for failure in caught.value.report.failures]
    assert (key, said) == (server.url + "/no%20such", "the server answered 404 Not Found")
    with pytest.raises(TasksFailedError, match=r"no answer: .*Connection refused"):
        download.main("http://127.0.0.1:1/x", db, to=tmp_path / "to", retries=0)


HOSTILE = [
    "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "\0", "x\0y", "\n", "CON", "nul.txt", "x.part",
    "x.PART.json", ".hidden", "-rf", "x" * 5000, "é" * 300, "x." + "y" * 300, " x ", "a:b", "\u202egpj.exe",
    "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_become_plain_ones(name):
    """One visible file in its folder."""
    check_name(name)


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_name_becomes_a_plain_one(name):
    """Whatever comes in; and a safe name stays what it is."""
    check_name(name)


def check_name(name):
    plain = download.safe(name)
    assert 0 < len(plain.encode()) <= 140
    assert os.path.basename(plain) == plain
    assert plain not in (".", "..")
    assert plain.isprintable()
    assert not plain.startswith((".", "~", "-"))
    assert not set(plain) & set('/\\:\0 <>"|?*')
    assert not plain.lower().endswith((".part", ".part.json"))
    assert download.safe(plain) == plain


def test_no_url_leaves_the_folder(server, db, tmp_path):
    """Dots and slashes, plain and encoded; the database beside it is not overwritten either."""
    paths = [
        "/../../x1",
        "/a/%2e%2e/%2E%2E%2Fx2",
        "/%2Fetc%2Fx3",
        "/..%5C..%5Cx4",
        "/x5%00.csv",
        "/out.db-journal",
        "/",
    ]
    for path in paths:
        server.contents[path] = path.encode()
    to = tmp_path / "to"
    report = download.main([server.url + path for path in paths], db, to=to)

    assert report.done == len(paths)
    assert sorted(files_in(to).values()) == sorted(path.encode() for path in paths)
    assert {path.name for path in tmp_path.iterdir()} == {"to", db.name}
    assert not (to / "out.db-journal").exists()


def test_a_table_that_names_a_file_outside_is_not_believed(server, get, tmp_path, db):
    """The database may come from anyone."""
    import sqlite3
    from contextlib import closing

    get("/two.bin")
    (tmp_path / "victim").write_bytes(b"mine")
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute("UPDATE downloads SET name = '../victim'")
    get("/two.bin", verify=True)

    assert (tmp_path / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x/y", "only http:// and https://"),
        ("file:///etc/passwd", "only http:// and https://"),
        ("x.csv", "only http:// and https://"),
        ("http://", "contains no server name"),
        ("http://[::1/x", "is not a URL"),
        ("http://h:port/x", "is not a URL"),
        ("http://user:secret@h/x", "contains a user name"),
        ("http://h/a b", "spaces or control characters"),
        ("http://h/\x1b[31m", "spaces or control characters"),
        ("http://h/\0", "spaces or control characters"),
    ],
)
def test_what_is_no_url_is_refused_before_anything_is_written(tmp_path, db, url, said):
    """With the place in the list."""
    listed = tmp_path / "list.txt"
    listed.write_text(f"# comment\n\nhttp://h/fine\n{url}\n")
    with pytest.raises(ValueError, match=said) as caught:
        download.main(listed=listed, db=db, to=tmp_path / "to")
    assert f"{listed}, line 4: " in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt"]


def test_a_list_is_read_once_each(tmp_path):
    """Comments, empty lines, fragments, other letters, twice the same."""
    listed = tmp_path / "list.txt"
    listed.write_text("http://h/a\n# http://h/b\n\n  http://h/a#part\r\nhttps://exämple.org/é?q=ü%20\n")
    assert download.checked([], listed) == ["http://h/a", "https://xn--exmple-cua.org/%C3%A9?q=%C3%BC%20"]


def test_a_list_that_cannot_be_read_is_a_sentence(tmp_path, db):
    """Missing, a folder, not UTF-8, or empty."""
    (tmp_path / "bad").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "none").write_text("# nothing\n")
    for name, said in (
        ("nowhere", "No such file"),
        (".", "directory"),
        ("bad", "not UTF-8"),
        ("none", "contains no URL"),
    ):
        with pytest.raises(ValueError, match=said):
            download.main(listed=tmp_path / name, db=db)


# --- hostile places and servers ---


def part_of(server, path, folder):
    """Return the name under which a file grows."""
    return download.files_for([server.url + path], folder.parent / "none.db", folder, verify=False)[0].part


@pytest.mark.parametrize("suffix", ["", ".json"])
@pytest.mark.parametrize("kind", ["link", "hard link", "dangling link", "pipe"])
def test_what_lies_in_the_place_of_an_unfinished_file_is_not_written_through(server, get, tmp_path, kind, suffix):
    """Nor read, nor waited for: what it leads to stays as it is, and the download is right."""
    folder, theirs = tmp_path / "to", tmp_path / "bashrc"
    folder.mkdir()
    theirs.write_text('{"version": "\\"1\\""}')
    part = part_of(server, "/one.bin", folder)
    place = part.with_name(part.name + suffix)
    misplace(kind, place, theirs)
    if suffix:
        part.write_bytes(b"not what the server has")

    assert get("/one.bin").done == 1
    assert server.asked == [("/one.bin", None)]
    assert theirs.read_text() == '{"version": "\\"1\\""}'
    assert not (tmp_path / "nowhere").exists()
    assert files_in(folder) == {"one.bin": CONTENT}
    assert not (folder / "one.bin").is_symlink()


@pytest.mark.parametrize("promises", [True, False])
def test_a_file_that_is_too_large_is_given_up(server, get, tmp_path, promises):
    """Before a byte of it where the server says so, else when it goes on; nothing of it is kept."""
    server.contents["/big"] = bytes(1_500_000)
    server.promises = promises
    with pytest.raises(TasksFailedError, match=r"the limit is 1,000,000 bytes, but the file .*: raise it"):
        get("/big", largest=1)
    assert files_in(tmp_path / "to") == {}
    assert [path for path, _ in server.asked] == ["/big"]  # it would be no smaller the next time


def test_a_file_that_comes_too_slowly_is_given_up(server, get, tmp_path):
    """What has come by then is kept."""
    server.limits["/one.bin"], server.waits = 1000, True
    with pytest.raises(TasksFailedError) as failed:
        get("/one.bin", timeout=0.3, retries=0)
    server.go_on.set()
    assert failed.value.report.timed_out == 1
