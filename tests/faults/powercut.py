"""Power cuts: record what a program does to its files, then rebuild what a cut would have left at any instant.

A write, a truncation is durable once its file has been synced; a new name or a removed one once its directory has.
What was not durable yet may be there or not; the modes are

- ``none``: nothing of it is; ``all``: all of it is, which is what ``kill -9`` leaves;
- ``random``: any subset of the writes, each perhaps torn at a 512-byte sector, and a prefix of the names' changes
  (file systems keep those in order);
- ``trash``: as ``random``, but some of the bytes that were being written are garbage.

Bytes beside a write never change: SQLite relies on that by default (https://www.sqlite.org/psow.html). A real disk
may also lie about syncs; nothing helps there.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from faults.tools import HERE, environment, need

Mode = Literal["none", "random", "all", "trash"]
MODES: Final[tuple[Mode, ...]] = ("none", "random", "all", "trash")
ACKS: Final = "acks"  # the notes are not on this disk: whoever read them knows them
_SECTOR: Final = 512
_HEAD: Final = struct.Struct("=cHqI")


def built(place: Path) -> Path:
    """Compile the recorder."""
    need("gcc")
    library = place / "record_writes.so"
    outcome = subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, HERE / "record_writes.c", "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return library


def recording(library: Path, place: Path, log: Path) -> dict[str, str]:
    """Return the environment in which a program's work below ``place`` is recorded to ``log``."""
    # LD_PRELOAD ends a path at a space, LD_LIBRARY_PATH does not.
    return environment(PL_DIR=place, PL_LOG=log, LD_PRELOAD=library.name, LD_LIBRARY_PATH=library.parent)


@dataclass(frozen=True, slots=True)
class Op:
    """One recorded call; ``kind`` is a letter of record_writes.c."""

    kind: str
    name: str
    offset: int
    data: bytes


def read_log(log: Path) -> list[Op]:
    """Read what was recorded, in order."""
    raw, at, ops = log.read_bytes(), 0, []
    while at < len(raw):
        kind, path_length, offset, length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        name = os.path.basename(raw[at : at + path_length].decode())
        at += path_length
        ops.append(Op(kind.decode(), name, offset, raw[at : at + length]))
        at += length
    return ops


class Disk:
    """What is durable, and what is not yet, as a program goes on; meets its calls one by one."""

    def __init__(self) -> None:
        self.acks: set[str] = set()
        self._durable: list[bytearray] = []  # file → content
        self._pending: list[list[Op]] = []  # file → its writes since its last sync
        self._now: dict[str, int] = {}  # name → file, as the program sees it
        self._names: dict[str, int] = {}  # the same, as it is durable
        self._names_pending: list[tuple[str, int | None]] = []

    def meet(self, op: Op) -> None:
        """Go on by one call."""
        if op.name == ACKS:
            self.acks.update(op.data.decode().split())
        elif op.kind == "D":
            _rename(self._names, self._names_pending)
            self._names_pending = []
        elif op.kind == "U":
            self._now.pop(op.name, None)
            self._names_pending.append((op.name, None))
        else:
            if op.name not in self._now:
                self._now[op.name] = len(self._durable)
                self._names_pending.append((op.name, len(self._durable)))
                self._durable.append(bytearray())
                self._pending.append([])
            file = self._now[op.name]
            if op.kind == "S":
                for write in self._pending[file]:
                    _apply(self._durable[file], write)
                self._pending[file] = []
            elif op.kind in "WT":
                self._pending[file].append(op)

    def left(self, mode: Mode, chance: random.Random) -> dict[str, bytes]:
        """Return name → content after a cut now."""
        names, pending = dict(self._names), self._names_pending
        kept = {"none": 0, "all": len(pending)}.get(mode, chance.randint(0, len(pending)))
        _rename(names, pending[:kept])
        return {name: self._content(file, mode, chance) for name, file in names.items()}

    def _content(self, file: int, mode: Mode, chance: random.Random) -> bytes:
        content = self._durable[file]
        if self._pending[file] and mode != "none":
            content = content.copy()
            for op in self._pending[file]:
                if mode == "all":
                    _apply(content, op)
                else:
                    _apply_perhaps(content, op, mode, chance)
        return bytes(content)


def _rename(names: dict[str, int], changes: list[tuple[str, int | None]]) -> None:
    for name, file in changes:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


def _apply(content: bytearray, op: Op) -> None:
    if op.kind == "T":
        del content[op.offset :]
    content.extend(b"\0" * (op.offset - len(content)))
    content[op.offset : op.offset + len(op.data)] = op.data


def _apply_perhaps(content: bytearray, op: Op, mode: Mode, chance: random.Random) -> None:
    fate = chance.random()
    if fate < 0.5:
        _apply(content, op)
    elif op.kind == "W" and fate < 0.65:
        first = -op.offset % _SECTOR or _SECTOR  # sectors are those of the file, not of the write
        edges = [0, *range(first, len(op.data), _SECTOR)]
        _apply(content, Op("W", op.name, op.offset, op.data[: chance.choice(edges)]))
    elif op.kind == "W" and mode == "trash" and fate < 0.8:
        _apply(content, Op("W", op.name, op.offset, chance.randbytes(len(op.data))))


def cuts(ops: list[Op], mode: Mode, instants: list[int], place: Path, seed: int) -> Iterator[tuple[int, set[str]]]:
    """Leave in ``place`` what each cut leaves, one after the other; yield the instant and what had been noted.

    Args:
        ops: What was recorded.
        mode: What becomes of that which was not durable.
        instants: n ascending numbers; a cut comes right before that call, ``len(ops)`` after the last one.
        place: A directory; emptied each time.
        seed: Repeats the same choices.
    """
    disk, met = Disk(), 0
    for instant in instants:
        for op in ops[met:instant]:
            disk.meet(op)
        met = instant
        for old in place.iterdir():
            old.unlink()
        for name, content in disk.left(mode, random.Random(f"{seed} {mode} {instant}")).items():
            (place / name).write_bytes(content)
        yield instant, set(disk.acks)
