"""Standard streams whose readers leave: what is said is dropped, what was done counts."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest

from pipeloom.show.streams import Output, is_unread, same_terminal

pytestmark = pytest.mark.outputs


@contextmanager
def pipe():
    """Both ends of a pipe, as descriptors; those that the test leaves open are closed."""
    reading, writing = os.pipe()
    left = {reading, writing}

    def close(end):
        left.discard(end)
        os.close(end)

    try:
        yield reading, writing, close
    finally:
        for end in left:
            os.close(end)


def test_output_drops_what_nobody_reads():
    """All of it counts as written, and what is written later, too."""
    with pipe() as (reading, writing, close):
        text = io.TextIOWrapper(Output(writing))
        text.write("read\n")
        text.flush()
        assert os.read(reading, 100) == b"read\n"
        close(reading)
        for _ in range(3):
            text.write("unread\n" * 10_000)
            text.flush()
        assert is_unread(text)
        text.close()
        os.fstat(writing)  # the descriptor is not the stream's to close


def test_output_says_when_the_disk_is_full():
    """What was asked for is not there: that is not the reader's doing."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is full")
    full, null = os.open("/dev/full", os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
    outputs = [Output(full, at_once=True), Output(full)]
    try:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            outputs[0].write(b"x")
        outputs[1].write(b"x")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            outputs[1].flush()
    finally:
        os.dup2(null, full)  # so that they can be closed
        for output in outputs:
            output.close()
        os.close(full)
        os.close(null)


def test_output_of_a_terminal_that_was_closed():
    """A terminal says EIO where a pipe says EPIPE."""
    ours, theirs = pty.openpty()
    output = Output(theirs)
    os.close(ours)
    assert output.write(b"anybody?") == 8
    output.flush()
    assert output.is_unread
    output.close()
    os.close(theirs)


def test_what_was_written_is_not_written_again_after_an_interrupt():
    """Python's own raw stream has counted it by then; with one in Python, Ctrl-C may come between the two."""
    with pipe() as (_, writing, _close):
        output = Output(writing)
        assert type(output.raw) is io.FileIO
        output.close()


def test_whether_anybody_reads():
    """Known for pipes and closed streams; everything else may be read."""
    with pipe() as (reading, writing, close), open(writing, "w", closefd=False) as stream:
        assert not is_unread(stream)
        close(reading)
        assert is_unread(stream)
    assert is_unread(None)
    assert not is_unread(io.StringIO())
    with open(os.devnull, "w") as null:
        assert not is_unread(null)


def test_the_same_terminal_and_another():
    """By the device, whatever the descriptor; a file is no terminal."""
    ours, theirs = pty.openpty()
    other_ours, other = pty.openpty()
    try:
        with open(theirs, "w", closefd=False) as one, open(os.dup(theirs), "w") as again:
            assert same_terminal(one, again)
            with open(other, "w", closefd=False) as elsewhere, open(os.devnull, "w") as null:
                assert not same_terminal(one, elsewhere)
                assert not same_terminal(one, null)
            assert not same_terminal(one, io.StringIO())
            assert not same_terminal(None, one)
    finally:
        for descriptor in (ours, theirs, other_ours, other):
            os.close(descriptor)


# --- programs that nobody listens to: nothing that they do may depend on it ---

LINES = """
    import pipeloom, pipeloom.show.plain
    pipeloom.show.plain._LINE_S = 0.0           # a short run says as much as a long one
"""
SILENT = "import pipeloom"
PROGRAMS = {
    "lines": (LINES, "pipeloom.map(str, range(300), db='out.db', name='x')"),
    "a run that fails": (
        SILENT,
        """
        def work(n):
            if n == 7:
                raise ValueError("no")
        pipeloom.map(work, range(300), db="out.db", progress=False)
        """,
    ),
    "bars": (
        SILENT,
        """
        with pipeloom.make_overall_progress() as bars:
            bars.add_task("all", total=None)
            bars.print("on the console")
            pipeloom.map(str, range(300), db="out.db", name="x")
        """,
    ),
    "tasks log through setup_logging": (
        LINES,
        """
        pipeloom.setup_logging(2)
        def work(n, ctx):
            pipeloom.logger.warning("task %s", n)
            ctx.put("a message that nobody handles")        # the writer warns
        pipeloom.map(work, range(300), db="out.db")
        """,
    ),
    "tasks log through logging": (
        LINES,
        """
        import logging
        logging.basicConfig(level=logging.INFO)
        pipeloom.map(lambda n: logging.info("task %s", n), range(300), db="out.db", name="x")
        """,
    ),
    "tasks log without any set-up": (
        SILENT,
        """
        import logging
        pipeloom.map(lambda n: logging.getLogger("x").warning("task"), range(300), db="out.db", name="x")
        """,
    ),
    "tasks print to it": (
        SILENT,
        """
        import sys
        pipeloom.map(lambda n: print(n, file=sys.stderr), range(300), db="out.db", name="x")
        """,
    ),
}
HEAD = "import os\nreading, writing = os.pipe()\nos.close(reading)\nos.dup2(writing, 2)\nos.close(writing)\n"


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_whose_stderr_nobody_reads(tmp_path, read, name, unbuffered):
    """It stores the same, prints the same and exits the same; only a failed run exits with 1."""
    before, program = PROGRAMS[name]
    code = HEAD + textwrap.dedent(before) + "\n" + textwrap.dedent(program) + "\n"
    if name == "a run that fails":
        code = code.replace("pipeloom.map(work", "print('begins', flush=True)\npipeloom.map(work")
    code += "print('the end')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )

    counts = read(tmp_path / "out.db", "SELECT done, failed FROM pipeloom_runs")
    if name == "a run that fails":
        assert (done.returncode, done.stdout, counts) == (1, "begins\n", [(299, 1)])
    else:
        assert (done.returncode, done.stdout, counts) == (0, "the end\n", [(300, 0)])


def left_by_its_reader(code, place, **options):
    """Run a program to its end, of whose standard error only the first line is read: that it begins."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        assert process.stderr.readline() == "begins\n"
        process.stderr.close()
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stdout.read() == "the end\n"
        assert process.wait(30) == 0


def test_tasks_that_print_after_the_reader_has_left(tmp_path, read):
    """The run notices within a moment; what is printed from then on goes nowhere, and fails nobody."""
    code = """
        import os, sys, time, pipeloom
        def work(n):
            if n == 0:
                print("begins", file=sys.stderr)
                input()                                         # its reader is gone
                until = time.monotonic() + 20
                while not os.path.samestat(os.fstat(2), os.stat(os.devnull)) and time.monotonic() < until:
                    time.sleep(0.01)
            print(n, file=sys.stderr)
        pipeloom.map(work, range(300), db="out.db", name="x", workers=1, progress=False)
        print("the end")
    """
    left_by_its_reader(textwrap.dedent(code), tmp_path)
    assert read(tmp_path / "out.db", "SELECT done, failed FROM pipeloom_runs") == [(300, 0)]


def test_a_reader_that_leaves_during_the_run(tmp_path):
    """As with ``2> >(head -1)``: the screen goes on speaking to nobody, and stdout gets what is printed."""
    code = """
        import pipeloom, pipeloom.show.plain
        pipeloom.show.plain._LINE_S = 0.0
        input()                                             # the first line has been read, and its reader is gone
        pipeloom.map(str, range(300), db="out.db", name="x")
        print("the end")
    """
    code = "import sys; print('begins', file=sys.stderr)\n" + textwrap.dedent(code)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    left_by_its_reader(code, tmp_path, env=buffered)
