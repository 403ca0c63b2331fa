"""Make a release: `make release VERSION=0.1.0`. Either all of it succeeds, or the checkout is left unchanged.

It moves the changelog's [Unreleased] section to the version, sets the version, builds and checks sdist and wheel,
commits, and tags the commit with the notes. It pushes and uploads nothing; it prints the commands for that.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parent
CHANGELOG = ROOT / "CHANGELOG.md"
INIT = ROOT / "src" / "pipeloom" / "__init__.py"
VERSION = re.compile(r'^__version__ = "(.*)"$', re.MULTILINE)
UNRELEASED = re.compile(r"^## \[Unreleased\]\n(.*?)(?=^## \[|^\[[^\]]+\]: |\Z)", re.MULTILINE | re.DOTALL)


class RefusedError(Exception):
    """The release cannot be made; the message says why, and what to do."""


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"git {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()


def number(version: str) -> tuple[int, ...]:
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise RefusedError(f"{version!r} is not a version: pass three numbers, such as VERSION=0.1.0")
    return tuple(map(int, version.split(".")))


def checked_notes(version: str) -> str:
    """Return the notes of the release, or refuse to make it."""
    wanted = number(version)
    if git("status", "--porcelain"):
        raise RefusedError("the checkout has uncommitted changes: commit or remove them first")
    released = [tag[1:] for tag in git("tag", "--list", "v*").split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    if version in released:
        raise RefusedError(f"the tag v{version} exists already: choose a greater version")
    now = VERSION.findall(INIT.read_text(encoding="utf-8"))[0]
    # The first release has the version that the source already has.
    least = max(map(number, [*released, now]))
    if wanted < least:
        raise RefusedError(f"{version} is not greater than {'.'.join(map(str, least))}: choose a greater version")
    found = UNRELEASED.search(CHANGELOG.read_text(encoding="utf-8"))
    notes = found[1].strip() if found else ""
    if "- " not in notes:
        raise RefusedError("CHANGELOG.md has nothing under [Unreleased]: describe the changes there first")
    return notes


def write(version: str, notes: str) -> None:
    text = CHANGELOG.read_text(encoding="utf-8")
    heading = f"## [Unreleased]\n\n## [{version}] - {datetime.now(UTC):%Y-%m-%d}\n\n{notes}\n\n"
    CHANGELOG.write_text(UNRELEASED.sub(lambda _: heading, text, count=1).rstrip() + "\n", encoding="utf-8")
    INIT.write_text(
        VERSION.sub(f'__version__ = "{version}"', INIT.read_text(encoding="utf-8"), count=1), encoding="utf-8"
    )


def build(version: str, folder: Path) -> list[Path]:
    """Build into a folder, and check what was built; returns the two files."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"the build failed:\n{done.stdout}{done.stderr}")
    sdist = folder / f"pipeloom-{version}.tar.gz"
    wheel = folder / f"pipeloom-{version}-py3-none-any.whl"
    if sorted(folder.iterdir()) != sorted([sdist, wheel]):
        raise RefusedError(f"the build made {sorted(path.name for path in folder.iterdir())}")
    with ZipFile(wheel) as archive:
        said = archive.read(f"pipeloom-{version}.dist-info/METADATA").decode()
    if f"\nVersion: {version}\n" not in said or (ROOT / "README.md").read_text(encoding="utf-8") not in said:
        raise RefusedError("the wheel's metadata lacks the version or the README")
    with tarfile.open(sdist) as archive_:
        if f"pipeloom-{version}/CHANGELOG.md" not in archive_.getnames():
            raise RefusedError("the sdist lacks CHANGELOG.md")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import pipeloom as p; print(p.__version__, p.__file__)"
    done = subprocess.run([sys.executable, "-I", "-c", code, wheel], capture_output=True, text=True, check=False)
    if done.stdout.split()[:1] != [version] or str(wheel) not in done.stdout:
        raise RefusedError(f"the wheel does not import as version {version}:\n{done.stdout}{done.stderr}")
    return [sdist, wheel]


def release(version: str) -> None:
    notes = checked_notes(version)
    before = git("rev-parse", "HEAD")
    copied: list[Path] = []
    try:
        write(version, notes)
        with tempfile.TemporaryDirectory() as folder:
            made = build(version, Path(folder))
            git("commit", "--quiet", "--all", "--message", f"Release {version}")
            (ROOT / "dist").mkdir(exist_ok=True)
            for file in made:
                copied.append(ROOT / "dist" / file.name)
                shutil.copyfile(file, copied[-1])
        # The tag comes last: it makes the release. "whitespace" keeps the headings, which begin with #.
        git(
            "tag",
            "--annotate",
            "--cleanup=whitespace",
            f"v{version}",
            "--message",
            f"pipeloom {version}\n\n{notes}",
        )
    except BaseException:
        for path in copied:
            path.unlink(missing_ok=True)
        git("reset", "--hard", "--quiet", before)
        raise
    print(f"pipeloom {version} is committed and tagged; dist/ holds the sdist and the wheel. To publish it:")
    print(f"  git push --atomic origin HEAD v{version}")
    print(f"  python -m twine upload dist/pipeloom-{version}*")


if __name__ == "__main__":
    try:
        release(sys.argv[1] if len(sys.argv) == 2 else "")
    except RefusedError as error:
        sys.exit(f"release: {error}")
