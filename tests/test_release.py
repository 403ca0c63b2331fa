"""``make release``, in a small repository of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from surroundings import ROOT

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- The first thing.\n"


@pytest.fixture
def call(tmp_path):
    """Run a command in a repository that holds what a release needs; returns its completed process."""
    place = tmp_path / "checkout"
    package = place / "src" / "pipeloom"
    package.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore", "release.py"):
        shutil.copy(ROOT / name, place)
    (package / "__init__.py").write_text('"""A package."""\n\n__version__ = "0.1.0"\n')
    (place / "CHANGELOG.md").write_text(CHANGELOG)
    names = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        names |= {f"GIT_{who}_NAME": "A Tester", f"GIT_{who}_EMAIL": "tester@example.org"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | names

    def run(*command):
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=100)

    run.place = place
    run("git", "init", "--quiet")
    run("git", "add", "--all")
    assert run("git", "commit", "--quiet", "--message", "Begin").returncode == 0
    return run


def release(call, version):
    return call(sys.executable, "release.py", version)


def seen(call):
    """Everything that a release may change."""
    state = [call("git", *words).stdout for words in (("rev-parse", "HEAD"), ("status", "--porcelain"), ("tag",))]
    dist = call.place / "dist"
    return [*state, sorted(path.name for path in dist.iterdir()) if dist.exists() else []]


def test_a_release_is_one_commit_with_a_tag_and_two_files(call):
    """The notes move under the version, and are the tag's message; the same version is then refused."""
    done = release(call, "0.1.0")

    assert done.returncode == 0, done.stderr
    assert "git push --atomic origin HEAD v0.1.0" in done.stdout
    assert sorted(path.name for path in (call.place / "dist").iterdir()) == [
        "pipeloom-0.1.0-py3-none-any.whl",
        "pipeloom-0.1.0.tar.gz",
    ]
    text = (call.place / "CHANGELOG.md").read_text()
    assert text.startswith("# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 20")
    assert text.endswith("\n\n### Added\n\n- The first thing.\n")
    notes = call("git", "tag", "--list", "--format=%(contents)", "v0.1.0").stdout
    assert notes.strip() == "pipeloom 0.1.0\n\n### Added\n\n- The first thing."
    assert call("git", "log", "-1", "--format=%s").stdout == "Release 0.1.0\n"
    assert call("git", "status", "--porcelain").stdout == ""

    assert "the tag v0.1.0 exists already" in release(call, "0.1.0").stderr
    assert "has nothing under [Unreleased]" in release(call, "0.2.0").stderr
    assert "0.0.9 is not greater than 0.1.0" in release(call, "0.0.9").stderr


def test_a_checkout_that_is_not_ready_is_refused(call):
    """With nothing changed: not a version, or something that is not committed."""
    before = seen(call)
    assert "'v1' is not a version" in release(call, "v1").stderr
    assert seen(call) == before
    (call.place / "new.txt").write_text("")

    assert "uncommitted changes" in release(call, "0.2.0").stderr


def test_a_release_that_fails_leaves_everything_as_it_was(call):
    """The last step fails here: the commit, the files and the built ones are taken back."""
    tags = call.place / ".git" / "refs" / "tags" / "v0.2.0"
    (tags / "in the way").mkdir(parents=True)
    (tags / "in the way" / "file").write_text("")
    before = seen(call)

    failed = release(call, "0.2.0")

    assert (failed.returncode, "git tag failed" in failed.stderr) == (1, True), failed.stderr
    assert seen(call) == before
    assert (call.place / "CHANGELOG.md").read_text() == CHANGELOG
