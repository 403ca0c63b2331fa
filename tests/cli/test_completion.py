"""Shell completion."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pipeloom

from .commands import typed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    """The documented line gives them their function."""
    document = (Path(__file__).parent.parent.parent / "docs" / "reference" / "command-line.md").read_text()

    assert f"_PIPELOOM_COMPLETE={shell}_source pipeloom" in document
    code = "import sys; sys.argv = ['pipeloom']; from pipeloom.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"_PIPELOOM_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "_pipeloom_completion" in done.stdout or "Shell completion is not supported" in done.stderr


def test_completion_knows_commands_and_choices():
    """What the function asks for while somebody types."""
    words = typed(_PIPELOOM_COMPLETE="bash_complete", COMP_WORDS="pipeloom tasks --status ", COMP_CWORD="3").stdout

    assert "plain,timed_out" in words


@pytest.fixture
def keyed(db, monkeypatch):
    """A file with keys that shells mind: paths, URLs, spaces, quotes; one has failed."""
    monkeypatch.chdir(db.parent)
    items = [Path("in/a b.csv"), Path("in/c.csv"), "https://example.org/a?x=1&y=2", "it's.csv", "two\nlines", 17]
    pipeloom.map(fail_for_text, items, db=db, name="k", on_error="collect", progress=False, durability="off")
    return db


def fail_for_text(item):
    """Fail for a quotation mark."""
    if "'" in str(item):
        raise ValueError("it has a quotation mark")


def offered(line, **environment):
    """Return what is offered at the end of a line, by click's protocol."""
    words = line.split(" ")
    asked = {"_PIPELOOM_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = typed(**asked, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return [word.removeprefix("plain,") for word in done.stdout.splitlines() if word]


def test_keys_of_tasks_are_offered(keyed):
    """Without the prefix that the ledger gives them; of the file that is named in whatever way."""
    assert offered("pipeloom show in/", PIPELOOM_DB=keyed.name) == ["in/a b.csv", "in/c.csv"]
    assert offered(f"pipeloom logs --db {keyed.name} in/c") == ["in/c.csv"]
    assert offered(f"pipeloom forget --db={keyed.name} path:in/c") == ["path:in/c.csv"]
    assert offered("pipeloom show ", PIPELOOM_DB=keyed.name)[0] == "it's.csv"  # what failed is asked for first
    assert "two" not in "".join(offered("pipeloom show two", PIPELOOM_DB=keyed.name))


def test_the_database_may_stand_behind_the_word(keyed):
    """Somebody goes back to fill in the task."""
    done = typed(_PIPELOOM_COMPLETE="bash_complete", COMP_WORDS=f"pipeloom show in/c {keyed.name}", COMP_CWORD="2")

    assert done.stdout.split() == ["plain,in/c.csv"]


def test_runs_kinds_statuses_and_options_are_offered(keyed):
    """Of the file that is named."""
    assert offered(f"pipeloom errors {keyed.name} --run ") == ["1"]
    kinds = offered(f"pipeloom errors {keyed.name} --kind ")
    assert kinds[0] == "ValueError"
    assert len(kinds[1]) == 8
    assert offered(f"pipeloom tasks {keyed.name} --kind {kinds[1][:3]}") == [kinds[1]]
    assert "--since" in offered("pipeloom tasks --s")


@pytest.mark.parametrize("content", [None, b"", b"noise" * 1000, b"SQLite format 3\0" + b"\xff" * 4096])
def test_whatever_is_wrong_with_the_file_nothing_is_said(tmp_path, content):
    """It is not there, empty, no database, or damaged: there is just nothing to offer."""
    db = tmp_path / "x.db"
    if content is not None:
        db.write_bytes(content)

    for line in ("pipeloom show a", "pipeloom errors --run ", "pipeloom errors --kind "):
        assert offered(line, PIPELOOM_DB=str(db)) == []
    assert offered("pipeloom show a", PIPELOOM_DB="file:x.db") == []
    assert (db.read_bytes() if db.exists() else None) == content


BASH = """
eval "$(_PIPELOOM_COMPLETE=bash_source pipeloom)"
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDS=($1) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_pipeloom_completion pipeloom
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("show in/", [r"in/a\ b.csv", "in/c.csv"]),
        ("show 'in/a", ["in/a b.csv"]),
        ("show https:", [r"//example.org/a\?x=1\&y=2"]),
        ("show https://example", [r"//example.org/a\?x=1\&y=2"]),
        ("show it", [r"it\'s.csv"]),
        ("tasks --kind=Val", ["ValueError"]),
        ("tasks --status=tim", ["timed_out"]),
    ],
)
def test_bash_puts_in_what_it_can_read_again(keyed, line, replies):
    """Quoted; and without what comes before a colon, at which bash begins a new word."""
    pipeloom_here = Path(sys.executable).with_name("pipeloom")
    if not pipeloom_here.exists():
        pytest.skip("the command is not installed")
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH, "bash", f"pipeloom {line}"],
        env=os.environ | {"PIPELOOM_DB": keyed.name, "PATH": f"{pipeloom_here.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.stderr, done.stdout.splitlines()) == ("", replies)
