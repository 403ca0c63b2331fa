"""``setup.sh``, by which ``make`` makes ``.venv``: what it refuses, what it mends, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from surroundings import ROOT

# A Python that says of itself what a test wants it to say. Its pip installs nothing, and notes each call.
PYTHON = """#!/bin/sh
case "$*" in
"-B -c "*) {looks} exec "{real}" -B -c "import sys; sys.executable = '$0'; {is_}
$3" ;;
"-m pip "*) echo "$0 $*" >>"{calls}"; {pip} ;;
*) exec "{real}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """What ``make`` needs of a checkout, in a place of its own."""
    place = tmp_path / "a checkout"
    place.mkdir()
    for name in ("Makefile", "setup.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, place)
    return place


@pytest.fixture
def python(tmp_path):
    """Put a Python on the PATH: ``is_`` is code that changes what it says of itself, ``pip`` what its pip does."""

    def put(name="python3", *, is_="pass", looks="", pip="true"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        calls = tmp_path / "pip-calls"
        path.write_text(PYTHON.format(real=sys.executable, is_=is_, looks=looks, pip=pip, calls=calls))
        path.chmod(0o755)

    return put


@pytest.fixture
def installs(tmp_path):
    """How often pip was called so far."""

    def count():
        path = tmp_path / "pip-calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    return count


@pytest.fixture
def setup(tmp_path, checkout):
    """Call it; returns its completed process."""

    def call(what="dev", *, place=checkout, command=("sh", "setup.sh"), **environment):
        names = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PYTHON", "PYTHONPYCACHEPREFIX")
        ours = {name: value for name, value in os.environ.items() if name not in names}
        ours["PATH"] = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        return subprocess.run(
            [*command, what], cwd=place, env=ours | environment, capture_output=True, text=True, timeout=30
        )

    return call


def made(checkout):
    """Return whether ``.venv`` is complete: its Python runs, and everything has been installed."""
    place = checkout / ".venv"
    done = subprocess.run([place / "bin" / "python", "-c", "import sys; print(sys.prefix)"], capture_output=True)
    return os.fsdecode(done.stdout).strip() == str(place) and (place / "dev").exists()


UNUSABLE = {
    "is Python 3.9": {"is_": "sys.version_info = (3, 9, 18)"},
    "is Python 2.7": {"is_": "sys.version_info = (2, 7, 18)"},
    "has no module pip": {"is_": "sys.modules['pip'] = None"},
    "has no module sqlite3": {"is_": "sys.modules['sqlite3'] = None"},
    "does not run": {"looks": "exit 127;"},
}


@pytest.mark.parametrize("words", UNUSABLE)
@pytest.mark.parametrize("name", ["python3", "python-other"], ids=["by default", "by name"])
def test_a_python_that_cannot_be_used_is_refused(setup, checkout, python, installs, words, name):
    """In one sentence, before anything is made; and what was said is not remembered."""
    before = sorted(checkout.iterdir())
    python(name, **UNUSABLE[words])
    named = {} if name == "python3" else {"PYTHON": name}
    refused = setup(**named)

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("pipeloom needs Python 3.11 or newer with ")
    assert f", but {name} {words}" in refused.stderr
    assert refused.stderr.endswith("; choose another Python with, for example, make PYTHON=python3.12 test\n")
    assert refused.stderr.count("\n") == 1
    assert sorted(checkout.iterdir()) == before
    python()
    assert setup().returncode == 0
    assert made(checkout)
    assert installs() == 2


def test_a_python_that_is_not_there_is_refused(setup, checkout, python):
    """And leaves the ``.venv`` that is there as it was."""
    python()
    setup()
    refused = setup(PYTHON="python3.99")

    assert (refused.returncode, "but there is no python3.99; " in refused.stderr) == (2, True)
    assert made(checkout)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_the_python_on(setup, checkout, python):
    """Named as a variable of make; the exit code and the one sentence are its own."""
    python("python3.9", is_="sys.version_info = (3, 9, 18)")
    before = sorted(checkout.iterdir())
    for target in ("demo", "test", "check", "setup"):
        refused = setup("PYTHON=python3.9", command=("make", target))

        assert refused.returncode != 0
        assert "but python3.9 is Python 3.9; " in refused.stderr
        assert len([line for line in refused.stderr.splitlines() if not line.startswith("make")]) == 1
        assert sorted(checkout.iterdir()) == before


def test_a_complete_one_is_kept(setup, checkout, python, installs):
    """Nothing is said or installed; what the demo needs is a part of it; newer requirements are installed."""
    python()
    assert "making .venv" in setup("demo").stdout
    assert "making .venv" not in setup("dev").stdout
    assert made(checkout)
    assert installs() == 4
    for what in ("dev", "demo"):
        again = setup(what)
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert installs() == 4
    stamp = (checkout / ".venv" / "dev").stat().st_mtime
    os.utime(checkout / "constraints.txt", (stamp + 10, stamp + 10))
    assert "making .venv" not in setup().stdout
    assert installs() == 6


def empty(checkout):
    (checkout / ".venv").mkdir()


def without_interpreter(checkout):
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").symlink_to("/no/longer/there")


def made_by_hand(checkout):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)


@pytest.mark.parametrize("left", [empty, without_interpreter, made_by_hand], ids=lambda left: left.__name__)
def test_an_incomplete_one_is_made_anew(setup, checkout, python, left):
    """Whatever was left behind."""
    left(checkout)
    python()

    assert setup().returncode == 0
    assert made(checkout)


def test_one_whose_interpreter_has_gone_is_made_anew(setup, checkout, python):
    """It was complete."""
    python()
    setup()
    interpreter = checkout / ".venv" / "bin" / "python"
    interpreter.unlink()
    interpreter.symlink_to("/no/longer/there")

    assert setup().returncode == 0
    assert made(checkout)


def test_one_that_was_moved_with_the_checkout_is_made_anew(setup, checkout, python):
    """The programs in it name the place where it was."""
    python()
    setup()
    moved = checkout.rename(checkout.with_name("elsewhere"))

    assert "making .venv" in setup(place=moved).stdout
    assert made(moved)


@pytest.mark.parametrize("signal", ["INT", "TERM", "KILL"])
def test_an_interrupted_one_is_made_anew(setup, checkout, python, signal):
    """Ctrl-C while pip is at work: packages may be there by half."""
    python(pip=f"kill -{signal} $PPID; exit 1")
    assert setup().returncode != 0
    python()

    assert "making .venv" in setup().stdout
    assert made(checkout)


def test_an_installation_that_fails_is_tried_again(setup, checkout, python, installs):
    """Without a network, say: what is there is kept, and counts as incomplete."""
    python(pip="exit 1")
    assert setup().returncode == 1
    assert not made(checkout)
    python()

    assert "making .venv" not in setup().stdout
    assert made(checkout)
    assert installs() == 3


def test_another_python_by_name_makes_it_anew(setup, checkout, python):
    """And it stays, for calls that name none, or the same by another name."""
    python()
    python("python-other", is_="sys.base_prefix = '/elsewhere'")
    python("python-same", is_="sys.base_prefix = '/elsewhere'")
    assert "making .venv" in setup().stdout
    assert "making .venv" in setup(PYTHON="python-other").stdout
    assert made(checkout)

    assert setup().stdout == ""
    assert setup(PYTHON="python-same").stdout == ""
    assert "making .venv" in setup(PYTHON="python3").stdout
    assert made(checkout)
