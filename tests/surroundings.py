"""What every test finds around it, whoever starts pytest, from wherever: the same settings, places and signals.

Only pytest's own process is concerned, and so whatever it starts.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["CACHE", "ROOT", "hearing", "keep_inside", "measure_programs", "settle"]

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

# By this a program hears that it is measured. Source: https://coverage.readthedocs.io/en/latest/subprocess.html
_COVERAGE: Final = "COVERAGE_PROCESS_CONFIG"
_coverage: Final[dict[str, str]] = {}

_IGNORED_BY_PYTHON: Final = {getattr(signal, name, None) for name in ("SIGPIPE", "SIGXFSZ")}


def settle() -> None:
    """Forget what a person has set: a test that depends on a setting makes it itself."""
    for name in list(os.environ):
        if name in _PERSONAL or name.startswith(_PERSONAL_FAMILIES):
            del os.environ[name]
    os.environ["LANG"] = "C.UTF-8"
    # Hundreds of programs that each compile the whole library are slow. `make` says the same.
    os.environ["PYTHONPYCACHEPREFIX"] = str(ROOT / ".venv" / "pycache")


def keep_inside() -> None:
    """Give programs an empty home and temporary directory inside the checkout: a browser writes to both."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # whoever started it has made them
        return
    home, temporary = CACHE / "home", CACHE / "tmp"
    for place in (home, temporary):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    if len(os.fsencode(temporary)) > _SOCKET_BYTES:
        temporary = Path(tempfile.mkdtemp(prefix="pipeloom-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    os.environ["HOME"], os.environ["TMPDIR"] = str(home), str(temporary)
    tempfile.tempdir = None  # so that it looks again


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
