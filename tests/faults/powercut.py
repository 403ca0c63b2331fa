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
    return environment(PL_DIR=place, PL_LOG=log, LD_PRELOAD=library)


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
    return [op for op in ops if not op.name.endswith("-lock")]


class Disk:
    """What the files are when a power cut comes right before op ``instant``."""

    def __init__(self, ops: list[Op], instant: int) -> None:
        self.acks: set[str] = set()
        self._names: list[tuple[int, str, int]] = []  # (when, name, file), file -1 when removed
        self._writes: list[tuple[int, int, Op]] = []  # (when, file, op)
        self._synced: dict[int, int] = {}  # file → when
        self._names_synced = -1
        self._files = 0
        now: dict[str, int] = {}
        for when, op in enumerate(ops[:instant]):
            if op.name == ACKS:
                self.acks.update(op.data.decode().split())
            elif op.kind == "D":
                self._names_synced = when
            elif op.kind == "U":
                now.pop(op.name, None)
                self._names.append((when, op.name, -1))
            else:
                if op.name not in now:
                    now[op.name] = self._files
                    self._names.append((when, op.name, self._files))
                    self._files += 1
                file = now[op.name]
                if op.kind == "S":
                    self._synced[file] = when
                elif op.kind in "WT":
                    self._writes.append((when, file, op))

    def left(self, mode: Mode, chance: random.Random) -> dict[str, bytes]:
        """Return name → content after the cut."""
        contents = [bytearray() for _ in range(self._files)]
        for when, file, op in self._writes:
            if when < self._synced.get(file, -1) or mode == "all":
                _apply(contents[file], op)
            elif mode != "none":
                _apply_perhaps(contents[file], op, mode, chance)
        pending = sum(when > self._names_synced for when, _, _ in self._names)
        kept = {"none": 0, "all": pending}.get(mode, chance.randint(0, pending))
        there: dict[str, int] = {}
        for _, name, file in self._names[: len(self._names) - pending + kept]:
            there[name] = file
        return {name: bytes(contents[file]) for name, file in there.items() if file >= 0}


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
    """Leave in ``place`` what each cut leaves, one after the other; yield the instant and what had been noted."""
    for instant in instants:
        disk = Disk(ops, instant)
        for old in place.iterdir():
            old.unlink()
        for name, content in disk.left(mode, random.Random(f"{seed} {mode} {instant}")).items():
            (place / name).write_bytes(content)
        yield instant, disk.acks
