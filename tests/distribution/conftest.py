"""What would be published: an sdist, the wheel built from it, and that wheel alone in a fresh environment."""

from __future__ import annotations

import shutil
import sys
import venv
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from distribution.tools import ROOT, call, need_modules


@dataclass(frozen=True)
class Built:
    """The two files that would be published."""

    sdist: Path
    wheel: Path

    def metadata(self) -> Message:
        """Return what the wheel says of itself."""
        with ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An sdist of this checkout, and the wheel that its users would build from it; asks no package index."""
    need_modules("build", "hatchling")
    folder = tmp_path_factory.mktemp("built")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT, cwd=folder)
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return Built(sdist, wheel)


@dataclass(frozen=True)
class Bare:
    """An environment with the wheel and what it requires, and nothing else."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def pipeloom(self) -> Path:
        """The command that the wheel brings."""
        return self.folder / "bin" / "pipeloom"


@pytest.fixture(scope="session")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """The wheel, installed bare; asks no package index.

    What it requires is copied from our own environment, which has it already. pip then installs the wheel with no
    index to ask, and refuses if anything that the wheel requires is not there.
    """
    need_modules("pip")
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", symlinks=True)
    made = Bare(folder / "venv")
    place = call(made.python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    for name in _required(built.metadata().get_all("Requires-Dist", [])):
        _copy(name, Path(place.strip()))
    pip = (sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python", made.python)
    call(*pip, "install", "--no-index", "--no-cache-dir", built.wheel, cwd=folder)
    return made


def _required(requirements: list[str]) -> set[str]:
    """Follow requirements, extras left out, to the names of all distributions that they need here."""
    found: set[str] = set()
    open_ = list(requirements)
    while open_:
        requirement = Requirement(open_.pop())
        here = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if here and requirement.name not in found:
            found.add(requirement.name)
            open_ += distribution(requirement.name).requires or []
    return found


def _copy(name: str, place: Path) -> None:
    """Copy an installed distribution's files, its commands left out."""
    for file in distribution(name).files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            target = place / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)
