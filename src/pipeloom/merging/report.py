"""The result of a merge, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeloom.data.rates import duration
from pipeloom.data.text import clean, near

__all__ = ["MergeReport"]

_SHOWN: Final = 5  # shards


@dataclass(frozen=True)
class MergeReport:
    """What was merged.

    Attributes:
        db: The path of the merged file.
        files: How many files were added.
        runs: How many runs they had.
        tasks: Status → number of tasks in the added files.
        rows: How many rows were added to user tables.
        missing: The shards that are missing, for each pipeline that has shards, such as ``"load:main, shard
            3/16"``; the first 1,000.
        elapsed_s: How long the merge took, in seconds.
    """

    db: str
    files: int
    runs: int
    tasks: Mapping[str, int]
    rows: int
    missing: tuple[str, ...]
    elapsed_s: float

    def __str__(self) -> str:
        tasks = ", ".join(f"{count:,} {clean(status, 40)}" for status, count in self.tasks.items())
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        what = f"{tasks or 'no tasks'}, {self.rows:,} rows"
        lines = [f"{clean(near(self.db))}: {files} merged in {duration(self.elapsed_s)}: {what}"]
        lines += [f"  not there: {clean(shard, 120)}" for shard in self.missing[:_SHOWN]]
        if (more := len(self.missing) - _SHOWN) > 0:
            lines.append(f"  … and {more:,} more")
        return "\n".join(lines)
