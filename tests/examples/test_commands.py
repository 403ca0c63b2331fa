"""``pipeloom examples …``, as typed, with and without arguments, and with wrong ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.resources import files

import pytest

import pipeloom

EXAMPLES = {
    "csv": {"csv.db", "csv-files"},
    "etl": {"etl.db", "etl-files"},
    "download": {"download.db", "downloads", "download-files"},
    "file-writer": {"file-writer.db", "file-writer-files", "file-writer-output"},
}
MODULES = {
    "csv": "csv_files", "etl": "etl", "download": "download", "pages": "pages", "file-writer": "file_writer",
}  # fmt: skip

PLAIN = """
import sys
from importlib.abc import MetaPathFinder

CORE = {"pipeloom", "rich", "click", "msgspec", "pygments", "markdown_it", "mdurl"} | set(sys.stdlib_module_names)

class Plain(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in CORE and not name.startswith("_"):
            raise ModuleNotFoundError(f"{name} is not part of a plain install", name=name)

from pipeloom.examples import practice
practice.find_spec = lambda _: None
sys.meta_path.insert(0, Plain())
from pipeloom.cli import main
main()
"""


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_each_works_with_nothing_given(name, tmp_path):
    """On a plain install; it writes under the names that it shows, and nothing else; a second call skips.

    Only etl asks again: what a server has may have changed.
    """

    def call():
        words = [sys.executable, "-c", PLAIN, "examples", name]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    first = call()
    assert first.returncode == 0, first.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written == EXAMPLES[name]
    second = call()
    assert second.returncode == 0, second.stderr
    assert ("skipped (done before)" in second.stdout) == (name != "etl")


def test_the_one_that_needs_more_than_a_plain_install_says_so(tmp_path):
    """In one sentence; and nothing is written."""
    words = [sys.executable, "-c", PLAIN, "examples", "pages"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 2
    assert "this example needs httpx: pip install 'pipeloom[examples]'" in ended.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_program_can_be_copied_and_run(name, plain, typed, tmp_path):
    """As ``--source`` prints it: by ``pipeloom run``."""
    code, program, err = typed("examples", name, "--source")
    assert (code, err) == (0, "")
    assert program == (files("pipeloom.examples") / f"{MODULES[name]}.py").read_text()

    (tmp_path / "mine.py").write_text(program)
    code, out, err = typed("run", "mine.py", "--arg", "db=mine.db")
    assert (code, "Traceback" in err) == (0, False), err
    assert "done in" in out
    assert (tmp_path / "mine.db").is_file()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["csv", "nowhere"], 2, "nowhere: no such folder"),
        (["csv", "empty"], 2, "empty: contains no .csv or .tsv file"),
        (["csv", "full", "--type", "n=number"], 2, "write COLUMN=int"),
        (["csv", "full", "--type", "n"], 2, "write COLUMN=int"),
        (["csv", "full", "--db", "no/such.db"], 3, "the directory"),
        (["csv", "full", "--db", "full/t.csv"], 3, "not a SQLite database"),
        (["etl", "ftp://x"], 2, "begin with http://"),
        (["etl", "http://127.0.0.1:1/x", "--retries", "0"], 1, "Connection refused"),
        (["download", "file:///etc/passwd"], 2, "only http:// and https://"),
        (["download", "--from", "nowhere"], 2, "nowhere: cannot be read: No such file"),
        (["download", "http://127.0.0.1:1/x", "--retries", "0"], 1, "Connection refused"),
        (["download", "http://127.0.0.1:1/x", "--db", "no/such.db"], 3, "the directory"),
        (["download", "http://127.0.0.1:1/x", "--to", "full/t.csv/x"], 2, "full/t.csv is not a folder"),
        (["pages", "ftp://x"], 2, "'ftp://x': begin with http://"),
        (["pages", "http://"], 2, "and a server's name"),
        (["pages", "http://u:p@x/"], 2, "contains a user name"),
        (["pages", "--from", "nowhere"], 2, "nowhere: cannot be read: No such file"),
        (["pages", "--from", "full/t.csv"], 2, "full/t.csv, line 1: 'n': begin with http://"),
        (["pages", "http://127.0.0.1:1/x", "--retries", "0"], 1, "no complete answer"),
        (["pages", "http://127.0.0.1:1/x", "--db", "no/such.db"], 3, "the directory"),
        (["file-writer", "full", "--db", "no/such.db"], 3, "the directory"),
        (["file-writer", "nowhere"], 2, "nowhere: no such folder"),
        (["file-writer", "full", "--to", "full/t.csv"], 2, "full/t.csv"),
        (["file-writer", "full", "-w", "0"], 2, "workers"),
    ],
)
def test_what_is_wrong_is_one_sentence(typed, tmp_path, words, code, said):
    """With the right exit code, and no traceback."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "t.csv").write_text("n\n1\n")
    found, out, err = typed("examples", *words)

    assert (found, out) == (code, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    if code != 1:
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "full", "t.csv"]


def test_options_reach_the_programs(typed, tmp_path):
    """Those that the other tests do not type."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_bytes("n;w\n1;é\n".encode("latin-1"))
    words = ["--table", "x", "--type", "n=int", "--delimiter", ";", "--encoding", "latin-1", "--db", "x.db"]
    code, out, _ = typed("examples", "csv", "in", *words)

    assert code == 0
    assert "1 done" in out
    assert "1 done" in typed("examples", "csv", "in", *words, "--again")[1]
    code, out, _ = typed("examples", "file-writer", "in", "--to", "out", "--db", "y.db", "-w", "2")
    assert code == 0
    assert (tmp_path / "out" / "t.csv.gz").is_file()
    (tmp_path / "out" / "t.csv.gz").unlink()
    assert "1 done" in typed("examples", "file-writer", "in", "--to", "out", "--db", "y.db", "--verify")[1]


def test_options_of_csv_reach_the_program(typed, tmp_path, read):
    """Each changes what is loaded; what is passed over is no failure."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("made by hand\n1,2\n3\n")
    (tmp_path / "in" / "README").write_text("")
    words = ["--no-header", "--skip", "1", "--ragged", "pad", "--detect-types"]
    code, out, err = typed("examples", "csv", "in", *words)
    assert (code, "1 done" in out, "skipped: 1 with other suffixes (README)" in err) == (0, True, True)
    assert read(tmp_path / "csv.db", "SELECT c1, c2 FROM t") == [(1, 2), (3, None)]

    (tmp_path / "in" / "t.csv").write_text("c1,C1\n7,8\n")
    assert typed("examples", "csv", "in", "--rename-duplicates")[0] == 1
    assert typed("examples", "csv", "in", "--rename-duplicates", "--alter")[0] == 0
    assert read(tmp_path / "csv.db", 'SELECT c1, "C1_2" FROM t') == [(7, "8")]


@pytest.mark.parametrize("module", [*sorted(MODULES.values()), "flights"])
def test_each_is_made_of_public_names(module):
    """Whoever copies one builds on nothing that may change; what serves for practice or reads CSV is importable."""
    tree = ast.parse((files("pipeloom.examples") / f"{module}.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    parts = {
        (node.module, alias.name) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    ours = {(home, name) for home, name in parts if home.split(".")[0] == "pipeloom"}
    named = {name for home, name in ours if home == "pipeloom"}
    attributes = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pipeloom"
    }

    assert {name for name in whole if name.split(".")[0] == "pipeloom"} == {"pipeloom"}
    assert {home for home, _ in ours} <= {"pipeloom", "pipeloom.examples.practice", "pipeloom.examples.delimited"}
    assert {"map"} < attributes | named <= set(pipeloom.__all__)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_printed_program_explains_that_it_takes_no_arguments(name, tmp_path):
    """``--help`` is no reason to run it."""
    program = files("pipeloom.examples") / f"{MODULES[name]}.py"
    (tmp_path / "load.py").write_text(program.read_text(encoding="utf-8"))
    words = [sys.executable, "load.py", "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "load.py takes no arguments: pass main's as pipeloom run load.py --arg NAME=VALUE\n"
    assert [path.name for path in tmp_path.iterdir()] == ["load.py"]
