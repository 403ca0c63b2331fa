"""Turn a folder of files into a folder of other files, one for one; here, each is compressed. Change ``produce``.

Each output is written under a temporary name, flushed to the disk, and then renamed: under its final name it is
always complete. The ledger keeps its path, size and SHA-256 as the task's result. A second call writes only outputs
that are missing or have another size, and those of new or changed inputs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import pipeloom
from pipeloom import TaskContext, connect_readonly

__all__ = ["main"]

_NAME: Final = "file-writer"
_CHUNK: Final = 1 << 20  # bytes
_HALF: Final = ".half"  # the suffix of unfinished files


def produce(source: BinaryIO, output: BinaryIO, tell: Callable[[int], None]) -> None:
    """Write one output from one input; change this.

    Args:
        source: The input, open for reading.
        output: Where to write.
        tell: Call it now and then with the number of bytes read: it shows progress, and ends a cancelled task.
    """
    with gzip.GzipFile(filename="", mode="wb", fileobj=output, mtime=0) as packed:  # equal inputs, equal outputs
        while chunk := source.read(_CHUNK):
            packed.write(chunk)
            tell(source.tell())


_SUFFIX: Final = ".gz"


def main(
    folder: Path | None = None,
    db: Path = Path("file-writer.db"),
    *,
    to: Path = Path("file-writer-output"),
    files: Path = Path("file-writer-files"),
    verify: bool = False,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Write one output for every file below a folder.

    Args:
        folder: Where the inputs are. None: three small files to try it with, written to ``files``.
        db: The database.
        to: Where the outputs go, with the inputs' names plus a suffix.
        files: Used only without ``folder``.
        verify: Read existing outputs, and write those again whose SHA-256 differs from the recorded one.
        workers: The number of threads.

    Raises:
        ValueError: There is nothing to read, or an argument is invalid; nothing has been written.
        TasksFailedError: Some files could not be written; each error says why.
    """
    if folder is None:
        from pipeloom.examples.practice import write_files

        folder = write_files(files)[0].parent
    names = find(folder, to, db)
    check_folder(to)
    written = written_before(db)
    outputs = [output_for(folder, to, name, written.get(storable(name)), verify=verify) for name in names]
    return pipeloom.map(write, outputs, db=db, name=_NAME, key=str, workers=workers)


@dataclass(frozen=True)
class Output:
    """One output to write, below ``folder``; ``version`` is 1, and one more each time it is written again."""

    name: str
    source: Path
    folder: Path
    target: Path
    size: int
    modified_ns: int
    version: int = 1

    def __str__(self) -> str:
        return self.name if self.version == 1 else f"{self.name}, version {self.version}"


def write(output: Output, ctx: TaskContext) -> dict[str, Any]:
    """Write one output; called by the workers."""

    def tell(read: int) -> None:
        ctx.progress(read, output.size)
        ctx.check()

    output.target.parent.mkdir(parents=True, exist_ok=True)
    if not output.target.parent.resolve().is_relative_to(output.folder.resolve()):
        raise ValueError(f"{output.target.parent}: is a link to a place outside {output.folder}: remove it")
    with output.source.open("rb") as source, whole_or_not_at_all(output.target) as file:
        produce(source, file, tell)
    return {
        "name": output.name,
        "version": output.version,
        "source_size": output.size,
        "source_modified_ns": output.modified_ns,
        "path": storable(str(output.target)),
        "bytes": output.target.stat().st_size,
        "sha256": sha256_of(output.target),
    }


@contextmanager
def whole_or_not_at_all(target: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that gets its name only once it is complete and on the disk.

    Until then the target does not change. An unfinished file left by a killed process is removed by the next
    attempt; so is a link in its place, whose target does not change.
    """
    half = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}{_HALF}")
    half.unlink(missing_ok=True)
    try:
        with half.open("xb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        half.replace(target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name must reach the disk too
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def find(folder: Path, to: Path, db: Path) -> list[str]:
    """Return the names of the files below a folder, relative to it.

    Hidden files are left out, and so is what this program writes: the outputs, the database and its companion
    files.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}: name a folder of files"
        )
    outputs, database = to.resolve(), str(db.resolve())
    found = [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")
        and outputs not in path.resolve().parents
        and str(path.resolve())
        not in (database, *(f"{database}-{end}" for end in ("wal", "shm", "lock", "cancel")))
    ]
    if not found:
        raise ValueError(f"{folder}: contains no file")
    return found


def check_folder(to: Path) -> None:
    """Reject a path that cannot be a folder; the folder is created when there is something to put into it."""
    place = next(place for place in (to, *to.absolute().parents) if place.exists())
    if not place.is_dir():
        raise ValueError(f"{to}: cannot be a folder for the files: {place} is not a folder")


def written_before(db: Path) -> dict[str, dict[str, Any]]:
    """Return name → result of the latest version, from the ledger."""
    if not db.is_file():
        return {}
    with closing(connect_readonly(db)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'pipeloom_pipelines'").fetchone():
            return {}
        sql = (
            "SELECT t.result FROM task_runs t JOIN pipeloom_pipelines p ON p.id = t.pipeline_id "
            "WHERE p.name = ? AND t.status = 'done' ORDER BY t.id"
        )
        results = [json.loads(result) for (result,) in conn.execute(sql, (_NAME,)).fetchall()]
    return {result["name"]: result for result in sorted(results, key=lambda result: result["version"])}


def output_for(folder: Path, to: Path, name: str, before: dict[str, Any] | None, *, verify: bool) -> Output:
    """Describe one output; it gets a new version, and so is written again, if the recorded one is not in place."""
    try:
        seen = (folder / name).stat()
        size, modified_ns = seen.st_size, seen.st_mtime_ns
    except OSError:
        size, modified_ns = 0, 0  # opening the file will show why
    output = Output(storable(name), folder / name, to, to / f"{name}{_SUFFIX}", size, modified_ns)
    if before is None:
        return output
    stands = (
        [before["source_size"], before["source_modified_ns"]] == [output.size, output.modified_ns]
        and output.target.is_file()
        and output.target.stat().st_size == before["bytes"]
        and (not verify or sha256_of(output.target) == before["sha256"])
    )
    return replace(output, version=before["version"] + (not stands))


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def storable(name: str) -> str:
    """Return a file's name as text that can be stored, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: pass main's as pipeloom run {sys.argv[0]} --arg NAME=VALUE")
    pipeloom.console.print(main())
