"""What the sdist and the wheel hold."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tomllib
from zipfile import ZipFile

import pytest

import pipeloom
from distribution.tools import ROOT

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def in_sdist(built):
    """The sdist's files, as paths within a checkout."""
    with tarfile.open(built.sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_the_sdist_holds_the_whole_checkout(in_sdist):
    """Its tests read docs, benchmarks, pictures and more. A file that is not added to git yet counts too."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(
        # Whoever owns the checkout; and only .gitignore counts, not what else this machine's git ignores.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-from=.gitignore"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    in_checkout = {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}

    assert in_sdist == in_checkout | {"PKG-INFO"}


def test_the_wheel_holds_the_package_and_nothing_else(built, in_sdist):
    """Each file of src/pipeloom, data and type marker included; no test, document or benchmark."""
    with ZipFile(built.wheel) as archive:
        names = set(archive.namelist())
    info = f"pipeloom-{pipeloom.__version__}.dist-info/"
    package = {name.removeprefix("src/") for name in in_sdist if name.startswith("src/pipeloom/")}

    assert {name for name in names if not name.startswith(info)} == package
    assert {"pipeloom/py.typed", "pipeloom/datasette.json", "pipeloom/web/static/live.js"} <= package
    assert {name.removeprefix(info) for name in names if name.startswith(info)} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_wheel_describes_itself(built):
    """Version, licence, Python and requirements are those of the source; it asks for no development tool."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    said = built.metadata()

    assert said["Name"] == "pipeloom"
    assert said["Version"] == pipeloom.__version__
    assert said["Summary"] == project["description"]
    assert said["Requires-Python"] == project["requires-python"]
    assert said["License-Expression"] == "MIT"
    assert said.get_all("License-File") == ["LICENSE"]
    assert said.get_all("Provides-Extra") == sorted(project["optional-dependencies"])
    assert "Typing :: Typed" in said.get_all("Classifier", [])
    assert said.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    always = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(always) == sorted(project["dependencies"])
