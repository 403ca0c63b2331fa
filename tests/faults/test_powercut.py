"""Power cuts at every instant, in every mode. (P3; what no ``kill -9`` can tell)"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import powercut
from faults.powercut import MODES, Op
from faults.tools import DONE, FULL, Start, mistaken, product, sample
from faults.verdict import VERDICT, UnsoundError

# Tasks in the first and the second run. A rollback journal makes more than twice the calls, and has no log to move.
COUNTS = {"load": (60, 72), "pipeline": (24, 30)}
DB = "p.db"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorder, compiled."""
    return powercut.built(tmp_path_factory.mktemp("recorder"))


@pytest.fixture
def quick_place() -> Iterator[Path]:
    """A directory for thousands of small databases, in memory where there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="pipeloom-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def recorded(start: Start, library: Path, place: Path, commands: list[list[str]]) -> list[Op]:
    """Run programs one after the other on one directory; return what they did to its files."""
    log = place / "log"
    for command in commands:
        child = start(command, env=powercut.recording(library, place / "disk", log))
        code, out, err = child.wait()
        assert code == DONE, out + err
    ops = powercut.read_log(log)
    assert {"W", "U", "C"} <= {op.kind for op in ops}, "the recorder misses something"
    return ops


def replayed(
    ops: list[Op], place: Path, *, quick: int, keeps_acks: bool, resume: tuple[list[str], int] | None = None
) -> Counter[str]:
    """Cut the power at every instant, or at ``quick`` of them per mode; count what the verdict says."""
    found: Counter[str] = Counter()
    instants = sample(list(range(len(ops) + 1)), quick)
    for mode in MODES:
        for number, (_, acks) in enumerate(powercut.cuts(ops, mode, instants, place, seed=3)):
            try:
                VERDICT.at_rest(place / DB, acks if keeps_acks else set())
                if resume is not None and number % (100 if FULL else 40) == 11:
                    VERDICT.resumed(place / DB, *resume)
                    found["resumed"] += 1
                found["sound"] += 1
            except UnsoundError as unsound:
                found[f"{mode}: {str(unsound).split(':')[0]}"] += 1
    return found


def kinds(found: Counter[str]) -> set[str]:
    """Return what was found, but for what is well."""
    return set(found) - {"sound", "resumed"}


@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("function", ["load", "pipeline"], ids=["write-ahead log", "rollback journal"])
def test_power_cut_at_every_instant(start, tmp_path, quick_place, library, function, durability):
    """Two runs on one file: nothing half, never corrupt; with durability="full" nothing acknowledged is lost."""
    disk = tmp_path / "disk"
    disk.mkdir()
    ops = recorded(
        start, library, tmp_path,
        [
            product(function, db=disk / DB, acks=disk / "acks", durability=durability, count=count)
            for count in COUNTS[function]
        ],
    )  # fmt: skip
    more = COUNTS[function][1]
    again = product(function, db=quick_place / DB, count=more)
    found = replayed(ops, quick_place, quick=28, keeps_acks=durability == "full", resume=(again, more))
    print(f"{function}, {durability}: {len(ops)} operations, {dict(found)}")
    assert not kinds(found), found
    assert found["resumed"]


@pytest.mark.parametrize(
    ("synchronous", "journal", "caught"),
    [
        ("NORMAL", "WAL", "acknowledged and lost"),
        ("OFF", "WAL", "cannot be read"),
        ("FULL", "DELETE", "acknowledged and lost"),
        ("OFF", "DELETE", "cannot be read"),
    ],
)
def test_the_replay_catches_missing_syncs(start, tmp_path, quick_place, library, synchronous, journal, caught):
    """The same program with a sync too few loses what was noted, or the whole file."""
    found = replay_of_wrong(
        start, library, tmp_path, quick_place, "correct", synchronous=synchronous, journal=journal
    )
    assert any(caught in kind for kind in kinds(found)), found


@pytest.mark.parametrize(("synchronous", "journal"), [("FULL", "WAL"), ("EXTRA", "DELETE")])
def test_the_replay_lets_the_correct_program_through(start, tmp_path, quick_place, library, synchronous, journal):
    """It is not the harness that loses things."""
    found = replay_of_wrong(
        start, library, tmp_path, quick_place, "correct", synchronous=synchronous, journal=journal
    )
    assert not kinds(found), found


def test_the_replay_catches_a_mark_apart(start, tmp_path, quick_place, library):
    """A done mark in its own transaction leaves half tasks."""
    found = replay_of_wrong(start, library, tmp_path, quick_place, "mark_in_its_own_transaction")
    assert any("half there" in kind for kind in kinds(found)), found


def replay_of_wrong(
    start: Start, library: Path, tmp_path: Path, quick_place: Path, mistake: str, **options: str
) -> Counter[str]:
    """Record and replay one of the wrong programs."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = mistaken(mistake, db=disk / DB, acks=disk / "acks", count=10, **options)
    ops = recorded(start, library, tmp_path, [command])
    found = replayed(ops, quick_place, quick=60, keeps_acks=True)
    print(f"{mistake} {options}: {len(ops)} operations, {dict(found)}")
    return found
