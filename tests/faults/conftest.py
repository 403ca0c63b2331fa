"""What the fault tests share: child processes, and time for a full run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults import tools

LIMIT_S = 3 * 3600 if tools.FULL else 180  # each child has its own, shorter one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them take seconds, some many; a full run takes as long as it takes."""
    for item in items:
        if tools.HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture
def start() -> Iterator[tools.Start]:
    """Start a process in a group of its own; what is left of it at the end is killed."""
    with tools.children() as starting:
        yield starting


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a given size (``"1m"``) in memory; called again, it changes that.

    More options of the mount may follow the size: ``"1m,nr_inodes=8"``, ``"1m,ro"``.
    """
    tools.need_root()
    tools.need("mount", "umount")
    place = tmp_path / "small"
    with ExitStack() as stack:

        def mount(size: str) -> Path:
            again = place.is_dir()
            place.mkdir(exist_ok=True)
            options = f"remount,size={size}" if again else f"size={size}"
            outcome = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)],
                capture_output=True,
                text=True,
                check=False,
            )
            if outcome.returncode:
                pytest.skip(f"cannot mount: {outcome.stderr.strip()}")
            if not again:
                stack.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
            return place

        yield mount


@pytest.fixture
def holder(start: tools.Start) -> Callable[[Path, str], tools.Child]:
    """Another program that holds a lock on a database until it is told to let go."""

    def holding(db: Path, begin: str) -> tools.Child:
        child = start([sys.executable, "-c", tools.HOLDER, str(db), begin], stdin=-1)
        child.begun()
        return child

    return holding
