"""What every test finds around it, whoever starts pytest, from wherever: the same settings, places and signals.

Only pytest's own process is concerned, and so whatever it starts.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final
from zlib import crc32

import pytest

__all__ = ["CACHE", "ROOT", "clear_memory", "hearing", "keep_inside", "measure_programs", "settle", "take"]

ROOT: Final = Path(__file__).parent.parent
CACHE: Final = ROOT / ".cache"

# What a person sets for their own terminal or Python, and a machine may or may not set.
_PERSONAL: Final = (
    "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "FORCE_COLOR", "LANGUAGE", "LINES", "NO_COLOR",
    "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS", "TERM", "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
)  # fmt: skip
_PERSONAL_FAMILIES: Final = ("LC_", "XDG_")

# A socket's path takes 108 bytes with its NUL on Linux, 104 elsewhere. What our tests start makes sockets in its
# temporary directory: multiprocessing in "pymp-????????/listener-????????", Chromium in
# "org.chromium.Chromium.??????/SingletonSocket", the longest of them with 46 bytes.
_SOCKET_BYTES: Final = 104 - 1 - len("/org.chromium.Chromium.??????/SingletonSocket")

# Where the tests of this checkout write, for those that are started by others: xdist's workers, a pytest in a test.
_PLACE: Final = "PIPELOOM_TEST_PLACE"
_MEMORY: Final = Path("/dev/shm")  # Linux's
_ROOM: Final = 2 << 30  # bytes: several times what the largest tests need at once

# By this a program hears that it is measured. Source: https://coverage.readthedocs.io/en/latest/subprocess.html
_COVERAGE: Final = "COVERAGE_PROCESS_CONFIG"
_coverage: Final[dict[str, str]] = {}

_locks: Final[list[IO[str]]] = []  # they are held as long as their files are open

_IGNORED_BY_PYTHON: Final = {getattr(signal, name, None) for name in ("SIGPIPE", "SIGXFSZ")}


def settle() -> None:
    """Forget what a person has set: a test that depends on a setting makes it itself."""
    for name in list(os.environ):
        if name in _PERSONAL or name.startswith(_PERSONAL_FAMILIES):
            del os.environ[name]
    os.environ["LANG"] = "C.UTF-8"
    # Hundreds of programs that each compile the whole library are slow. `make` says the same.
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".venv" / "pycache")


def keep_inside() -> Path:
    """Give programs an empty home and temporary directory, to which a browser writes too; return where tests write.

    All of it is inside the checkout, but for what is in memory while the tests run, see :func:`clear_memory`.
    """
    if _PLACE in os.environ:  # whoever started us, such as xdist, has made them
        return Path(os.environ[_PLACE])
    if not take(CACHE / "tests-lock"):
        pytest.exit("another test run is using this checkout: wait for it, or test in another clone", 4)
    place = _in_memory() or CACHE
    home, temporary = CACHE / "home", place / "tmp"
    for directory in (home, temporary):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    if len(os.fsencode(temporary)) > _SOCKET_BYTES:
        temporary = Path(tempfile.mkdtemp(prefix="pipeloom-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    os.environ["HOME"], os.environ["TMPDIR"] = str(home), str(temporary)
    os.environ[_PLACE] = str(place)
    tempfile.tempdir = None  # so that it looks again
    return place


def take(lock: Path) -> bool:
    """Lock a file until this process ends, so that two test runs do not remove each other's files."""
    lock.parent.mkdir(exist_ok=True)
    file = lock.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _locks.append(file)
    return True


def _in_memory() -> Path | None:
    """Make this checkout's directory in memory, if there is room: thousands of syncs take half of the tests' time.

    ``make faults`` is about disks, and stays on one. Its name is always the same, so that what a test run that was
    killed has left there is in nobody's way for long.
    """
    if os.environ.get("PIPELOOM_FAULTS") == "full" or not _MEMORY.is_dir():
        return None
    about = os.statvfs(_MEMORY)
    if about.f_bavail * about.f_frsize < _ROOM or about.f_flag & os.ST_NOEXEC:
        return None
    place = _MEMORY / f"pipeloom-{os.getuid()}-{crc32(os.fsencode(ROOT)):x}"
    try:
        place.mkdir(mode=0o755, exist_ok=True)  # some programs run as another user
    except OSError:  # we may not, or something else has its name
        return None
    is_ours = not place.is_symlink() and place.stat().st_uid == os.getuid()
    return place if is_ours else None


def clear_memory(place: Path, *, keep: bool) -> None:
    """Remove what is in memory, in the process that made it; what failed tests have left comes to the checkout."""
    if place.parent == _MEMORY and "PYTEST_XDIST_WORKER" not in os.environ:
        kept = CACHE / "pytest-tmp"
        shutil.rmtree(kept, ignore_errors=True)
        if keep:  # by a program that copies pipes and sockets, too
            subprocess.run(["cp", "-a", place / "pytest-tmp", kept], check=False)
        shutil.rmtree(place, ignore_errors=True)


def measure_programs(wanted: bool) -> None:
    """Let coverage, if it is on, measure the programs that are started from now on, or keep it out of them."""
    if wanted:
        os.environ.update(_coverage)
    elif _COVERAGE in os.environ:
        _coverage[_COVERAGE] = os.environ.pop(_COVERAGE)


@contextmanager
def hearing() -> Iterator[None]:
    """Let programs hear every signal, although whoever started us (``nohup``, ``&``) may have had us ignore some.

    A program inherits what is ignored, but not a handler: it begins with the default. This process stays deaf.
    """

    def overhear(_number: int, _frame: object) -> None:
        pass

    candidates = signal.valid_signals() - _IGNORED_BY_PYTHON
    ignored = [number for number in candidates if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, overhear)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
