"""Where a database cannot be: refused in one sentence, with nothing changed there."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom import SQLiteWriter
from pipeloom.cli import cli
from pipeloom.db import connect, connect_readonly, place
from pipeloom.db.place import Mount, check_file, check_file_system, check_place, mount_of, mounted
from pipeloom.doctor.doctor import examine
from pipeloom.errors import StorageError
from pipeloom.history import History

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 27 0:40 / /home rw - autofs systemd-1 rw
31 30 0:41 / /home rw shared:3 master:1 - nfs4 server:/home rw
32 31 0:42 / /home/ann/local rw - xfs /dev/sdb1 rw
33 27 0:43 / /mnt/my\040share rw - cifs //server/share rw
34 27 0:44 / /mnt/far rw - fuse.sshfs ann@host: rw
a line of something else
35 27 0:45 / /broken
"""


@pytest.mark.parametrize(
    ("path", "point", "kind", "is_network"),
    [
        ("/var/out.db", "/", "ext4", False),
        ("/home/ann/out.db", "/home", "nfs4", True),
        ("/home/ann/local/out.db", "/home/ann/local", "xfs", False),
        ("/home/ann/locally/out.db", "/home", "nfs4", True),
        ("/homely/out.db", "/", "ext4", False),
        ("/mnt/my share/out.db", "/mnt/my share", "cifs", True),
        ("/mnt/far/out.db", "/mnt/far", "fuse.sshfs", True),
        ("/broken/out.db", "/", "ext4", False),
    ],
)
def test_the_longest_mount_point_wins(path, point, kind, is_network):
    """And of two mounts on one point the later; spaces are escaped; other lines are passed over."""
    mount = mounted(MOUNTS, path)

    assert mount == (point, kind)
    assert mount.is_network is is_network


@pytest.mark.parametrize("char", ["\u2028", "\x85", "\x1c"])
def test_a_mount_point_may_hold_what_python_calls_a_line_break(char):
    """The kernel escapes the newline alone."""
    line = f"36 27 0:46 / /mnt/far{char}away rw - cifs //server/share rw\n"

    assert mounted(MOUNTS + line, f"/mnt/far{char}away/out.db") == (f"/mnt/far{char}away", "cifs")


def test_a_root_over_the_network_is_the_machines_own():
    """A sandbox or a diskless machine: nobody else has it mounted as its root."""
    assert not Mount("/", "9p").is_network
    assert Mount("/data", "9p").is_network
    assert mounted("", "/out.db") is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its mounts")
def test_this_machine_says_where_a_file_is(tmp_path):
    """The real list, also for a file that does not exist yet."""
    assert mount_of(Path("/proc/self/status")) == ("/proc", "proc")
    found = mount_of(tmp_path / "out.db")
    if found is None:  # a chroot whose root is no mount point does not list it
        listed = Path("/proc/self/mountinfo").read_text().splitlines()
        assert "/" not in [line.split(" ")[4] for line in listed]
    else:
        assert found.kind


def test_a_log_on_a_network_file_system_is_refused(db, monkeypatch, tmp_path, caplog):
    """Whose memory ends at the machine; a rollback journal there is warned of."""
    point = str(tmp_path).replace("\\", r"\134").replace(" ", r"\040")  # as the kernel writes it
    (tmp_path / "mounts").write_text(f"31 30 0:41 / {point} rw - nfs4 server:/home rw\n")
    monkeypatch.setattr(place, "_MOUNTS", str(tmp_path / "mounts"))

    with pytest.raises(StorageError, match=r"network file system \(nfs4 at .*use a local disk"):
        connect(db)
    assert not db.exists()
    with caplog.at_level(logging.WARNING, logger="pipeloom"):
        connect(db, wal=False).close()
    assert "locks may not hold" in caplog.text
    check_file_system(Path("/elsewhere/out.db"), wal=True)


@pytest.fixture
def special(tmp_path, monkeypatch):
    """What is no plain file, by its name in the sentence."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "file").touch()
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        monkeypatch.chdir(tmp_path)  # the whole path may be longer than a socket's can be
        listening.bind("socket")
        yield {
            "is a pipe": tmp_path / "pipe",
            "is a socket": tmp_path / "socket",
            "is a directory": tmp_path / "directory",
            "is a device": Path("/dev/null"),
            "in a circle": tmp_path / "a",
            "its parent directory is a file": tmp_path / "file" / "out.db",
            "the name is too long": tmp_path / ("x" * 300),
            "NUL": tmp_path / "x\0y",
        }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these")
@pytest.mark.parametrize(
    "words",
    [
        "is a pipe",
        "is a socket",
        "is a directory",
        "is a device",
        "in a circle",
        "its parent directory is a file",
        "the name is too long",
        "NUL",
    ],
)
def test_what_is_no_plain_file_is_refused(special, words, tmp_path):
    """Before anything is opened, by readers as by the writer; nothing appears in the directory."""
    before = sorted(tmp_path.iterdir())
    for opened in (connect, connect_readonly, check_place, check_file):
        with pytest.raises(StorageError, match=words) as refused:
            opened(special[words])
        assert str(refused.value).isprintable()

    assert sorted(tmp_path.iterdir()) == before


def test_a_link_to_nothing_makes_the_file_it_names(tmp_path):
    """If its directory exists; else the sentence names that directory."""
    (tmp_path / "good.db").symlink_to(tmp_path / "real.db")
    connect(tmp_path / "good.db").close()
    assert (tmp_path / "real.db").exists()

    (tmp_path / "bad.db").symlink_to(tmp_path / "no" / "real.db")
    with pytest.raises(StorageError, match=r"/no, to which this link leads, does not exist"):
        connect(tmp_path / "bad.db")


def test_a_name_with_a_line_break_is_a_name(tmp_path):
    """Odd, and harmless: it is shown as its escape."""
    path = tmp_path / "a\nb.db"
    connect(path).close()
    assert path.exists()


@pytest.mark.parametrize(("length", "fits"), [(247, True), (248, False)])
def test_a_name_must_leave_room_for_the_journals(tmp_path, length, fits):
    """SQLite makes ``-journal`` beside it: the limit is said before a file is made."""
    path = tmp_path / ("x" * (length - 3) + ".db")
    if fits:
        with closing(connect(path, wal=False)) as conn:
            conn.execute("CREATE TABLE t (n)")
    else:
        with pytest.raises(StorageError, match="the name is too long"):
            connect(path)
        assert not list(tmp_path.iterdir())


def test_a_path_must_be_one_that_sqlite_takes(tmp_path):
    """Linux takes 4,096 bytes, SQLite 504: tried on both sides of the limit."""
    room = 504 - len(os.fsencode(tmp_path)) - len("/d/x.db")
    deep = tmp_path
    while room > 120:
        deep, room = deep / ("d" * 99), room - 100
    deep.mkdir(parents=True)
    for length, fits in ((room, True), (room + 1, False)):
        path = deep / ("d" * (length + 1)) / "x.db"
        path.parent.mkdir()
        assert (len(os.fsencode(path)) <= 504) is fits
        if fits:
            with closing(connect(path, wal=False)) as conn:
                conn.execute("CREATE TABLE t (n)")
        else:
            with pytest.raises(StorageError, match="504 bytes for the whole path"):
                connect(path)


@pytest.mark.parametrize("wal", [True, False])
def test_a_file_cut_off_in_its_last_page_is_refused(db, wal):
    """SQLite would take the missing bytes for zeros; the file stays as it is."""
    with closing(connect(db, wal=wal)) as conn:
        conn.execute("CREATE TABLE t (b)")
        conn.execute("INSERT INTO t VALUES (zeroblob(100000))")
    content = db.read_bytes()[:-1000]
    db.write_bytes(content)

    with pytest.raises(StorageError, match="last page is cut off"):
        connect(db, wal=wal)
    assert db.read_bytes() == content


def test_with_a_log_the_end_of_the_file_says_nothing(db):
    """A process may have died while it moved the log into the database: the log still has the page."""
    with closing(connect(db)) as conn:
        conn.execute("CREATE TABLE t (b)")
        conn.execute("INSERT INTO t VALUES (zeroblob(100000))")
        names = [db, db.with_name(db.name + "-wal")]
        contents = [name.read_bytes() for name in names]
    killed = db.with_name("killed.db")
    killed.write_bytes(contents[0] + b"\0" * 1000)
    killed.with_name("killed.db-wal").write_bytes(contents[1])

    with closing(connect(killed)) as conn:
        assert conn.execute("SELECT length(b) FROM t").fetchone() == (100000,)


DESCRIPTORS = """
import resource, sys
from pathlib import Path
import sqlite3
from pipeloom.db import connect
from pipeloom.errors import StorageError
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
try:
    connect(Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit there")
def test_too_many_open_files_are_said_in_words(db):
    """SQLite only says that it cannot open the file."""
    done = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS, db], capture_output=True, text=True, timeout=30, check=True
    )

    assert "may open no more files" in done.stdout


@pytest.mark.skipif(not os.path.isdir("/dev/shm") or os.geteuid() != 0, reason="needs a mount of its own")
def test_a_full_disk_and_a_read_only_one(tmp_path):
    """Refused with a sentence, exit 3; what is read-only can be read, without a byte written."""
    place_ = tmp_path / "disk"
    place_.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place_], check=False).returncode:
        pytest.skip("may not mount")
    try:
        run = [sys.executable, "-m", "pipeloom"]
        made = subprocess.run(
            [*run, "init-db", "--db", place_ / "a.db"], capture_output=True, text=True, timeout=30
        )
        assert made.returncode == 0, made.stderr
        with open(place_ / "fill", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 4096)
        full = subprocess.run(
            [*run, "init-db", "--db", place_ / "b.db"], capture_output=True, text=True, timeout=30
        )
        assert (full.returncode, "free some space" in full.stderr) == (3, True), full.stderr
        (place_ / "fill").unlink()
        before = sorted(found.name for found in place_.iterdir())
        subprocess.run(["mount", "-o", "remount,ro", place_], check=True)
        refused = subprocess.run(
            [*run, "init-db", "--db", place_ / "a.db"], capture_output=True, text=True, timeout=30
        )
        assert (refused.returncode, "mounted read-only" in refused.stderr) == (3, True), refused.stderr
        with closing(connect_readonly(place_ / "a.db")) as conn:
            assert conn.execute("SELECT COUNT(*) FROM task_runs").fetchone() == (0,)
        assert sorted(found.name for found in place_.iterdir()) == before
    finally:
        subprocess.run(["umount", place_], check=True)


def test_a_foreign_database_keeps_its_journal_mode(db):
    """``init-db`` refuses it before the switch to a log would write its header."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE task_runs (a, b)")
    before = db.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "pipeloom", "init-db", "--db", db], capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 3
    assert str(db) in done.stderr
    assert db.read_bytes() == before


def test_a_file_of_two_names_is_refused(db):
    """Each name has a lock and a log of its own, and one would destroy what the other wrote."""
    pipeloom.map(abs, [1], db=db, name="n", progress=False)
    other = db.with_name("other.db")
    os.link(db, other)

    with pytest.raises(StorageError, match="has 2 names"):
        check_place(other)
    other.unlink()
    check_place(db)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, seen from another place."""
    (tmp_path / "home").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def typed(*words):
    outcome = CliRunner().invoke(cli, list(map(str, words)))
    return outcome.exit_code, outcome.output


def ways():
    """All ways to name a database."""

    def written(path):
        writer = SQLiteWriter(path, channel := pipeloom.Channel())
        writer.start()
        channel.put(pipeloom.SENTINEL)
        writer.join()

    return {
        "map": lambda path: pipeloom.map(abs, [1], db=path, progress=False),
        "run_pipeline": lambda path: pipeloom.run_pipeline([], path, worker_fn=lambda *_: None, progress=False),
        "SQLiteWriter": written,
        "connect": lambda path: connect(path).close(),
        "connect_readonly": lambda path: connect_readonly(path).close(),
        "History": lambda path: History(path).close(),
        "doctor": examine,
    }


def test_a_home_directory_is_meant_by_a_tilde(home):
    """By every call and every command, as text and as a path; what merely holds a tilde stays as it is."""
    for call in ways().values():
        for path in ("~/out.db", Path("~/out.db")):
            call(path)
    for words in (["init-db"], ["status"], ["doctor"], ["report", "-o", home / "r.html"], ["examples", "csv"]):
        assert typed(*words, "--db", "~/out.db")[0] == 0, words
    pipeloom.map(abs, [1], db="a~.db", progress=False)

    assert (home / "out.db").is_file()
    assert [path.name for path in Path.cwd().iterdir() if path.suffix == ".db"] == ["a~.db"]


@pytest.mark.parametrize(
    "url", ["file:out.db", "file:///tmp/out.db?mode=ro", "sqlite:///out.db", Path("sqlite:///out.db"), ""]
)
@pytest.mark.usefixtures("home")
def test_a_url_is_refused_by_every_way(url):
    """SQLite would take it for one thing, and everything else that looks for the file for another."""
    for way, call in ways().items():
        with pytest.raises(ValueError, match=r'such as "out\.db"'):
            call(url)
        assert not list(Path.cwd().iterdir()), way
    code, said = typed("status", "--db", str(url))
    assert code == 2
    assert 'such as "out.db"' in said


@pytest.mark.usefixtures("home")
def test_a_file_may_be_called_like_a_url_or_like_memory():
    """Behind a directory any name is one."""
    for name in ("./file:out.db", "./:memory:", "C:x.db"):
        connect(name).close()
        assert Path(name).absolute().is_file()
