"""The file-writer example: whole files or none, and a second call writes what is missing."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys

import pytest
from misplaced import misplace

from pipeloom import TasksFailedError
from pipeloom.examples import file_writer

STOPS_HALF_WAY = """
import threading
from pathlib import Path
from pipeloom.examples import file_writer

def produce(source, output, tell, whole=file_writer.produce):
    if source.name.endswith("b.bin"):
        output.write(b"half of it")
        output.flush()
        Path("ready").touch()
        threading.Event().wait()
    whole(source, output, tell)

file_writer.produce = produce
file_writer.main(Path("in"), Path("out.db"), to=Path("to"), workers=1)
"""


@pytest.fixture
def folder(tmp_path):
    """Three files, one of them below."""
    path = tmp_path / "in"
    (path / "sub").mkdir(parents=True)
    for name, content in (("a.bin", b"a" * 10), ("b.bin", os.urandom(2_500_000)), ("sub/c.bin", b"")):
        (path / name).write_bytes(content)
    return path


@pytest.fixture
def write(folder, db, tmp_path):
    """Run the example, quietly."""

    def run(**options):
        return file_writer.main(folder, db, to=tmp_path / "to", **options)

    return run


def outputs_of(tmp_path) -> dict[str, bytes]:
    """Return what is in the outputs, and that there is nothing else."""
    found = {path.relative_to(tmp_path / "to").as_posix(): path for path in (tmp_path / "to").rglob("*")}
    return {name: gzip.decompress(path.read_bytes()) for name, path in found.items() if path.is_file()}


def inputs_of(folder) -> dict[str, bytes]:
    """Return what the outputs should be."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {f"{name}.gz": path.read_bytes() for name, path in found.items()}


def test_each_input_has_its_output_and_the_ledger_its_digest(folder, tmp_path, write):
    """Path, size and SHA-256 are the results."""
    report = write()
    results = dict(report.results())

    assert outputs_of(tmp_path) == inputs_of(folder)
    assert sorted(results) == ["a.bin", "b.bin", "sub/c.bin"]
    for name, result in results.items():
        path = tmp_path / "to" / f"{name}.gz"
        assert (result["path"], result["bytes"]) == (str(path), path.stat().st_size)
        assert result["sha256"] == file_writer.sha256_of(path)


def test_a_second_call_writes_what_is_missing(folder, tmp_path, write):
    """An output that is gone, one that is cut, one of an input that has changed; the rest is skipped."""
    write()
    assert write().skipped == 3
    (tmp_path / "to" / "a.bin.gz").unlink()
    assert (write().done, write().skipped) == (1, 3)
    os.truncate(tmp_path / "to" / "b.bin.gz", 100)
    (folder / "sub" / "c.bin").write_bytes(b"more")
    assert (write().done, write().skipped) == (2, 3)
    assert outputs_of(tmp_path) == inputs_of(folder)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 only")
def test_names_that_are_no_text(folder, tmp_path, write):
    """File systems take any bytes; what is missing is noticed then, too."""
    (folder / os.fsdecode(b"caf\xe9.bin")).write_bytes(b"latin")
    write()
    output = tmp_path / "to" / os.fsdecode(b"caf\xe9.bin.gz")
    assert gzip.decompress(output.read_bytes()) == b"latin"
    output.unlink()
    assert (write().done, write().skipped) == (1, 4)


def test_verify_reads_the_outputs(tmp_path, folder, write):
    """One byte has changed, the size has not."""
    write()
    path = tmp_path / "to" / "b.bin.gz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)

    assert write().skipped == 3
    assert write(verify=True).done == 1
    assert outputs_of(tmp_path) == inputs_of(folder)


def test_killed_in_the_middle_of_a_file(tmp_path, folder, db, write, killed, read):
    """SIGKILL: nothing under its name; a rerun writes what is missing, and leaves no half file."""

    def half_way():
        return (tmp_path / "ready").exists() and read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'")[
            0
        ][0]

    killed(STOPS_HALF_WAY, half_way)
    names = sorted(path.name for path in (tmp_path / "to").iterdir())
    halves = [name for name in names if name.endswith(".half")]

    assert names == [*halves, "a.bin.gz"]
    assert len(halves) == 1
    report = write()
    assert (report.done, report.skipped) == (2, 1)
    assert outputs_of(tmp_path) == inputs_of(folder)


def test_a_failing_producer_leaves_nothing(tmp_path, folder, write, monkeypatch):
    """Its task fails, the half file goes; what was there before stays."""
    write()
    before = outputs_of(tmp_path)

    def produce(source, output, tell):
        output.write(b"half")
        raise RuntimeError("no more")

    monkeypatch.setattr(file_writer, "produce", produce)
    (folder / "a.bin").write_bytes(b"changed")
    with pytest.raises(TasksFailedError, match="no more"):
        write()
    assert outputs_of(tmp_path) == before


def test_its_own_files_are_no_inputs(tmp_path):
    """In the present folder, with the database and the outputs in it."""
    (tmp_path / "a.txt").write_text("a")
    for expected in (1, 0):
        report = file_writer.main(tmp_path, tmp_path / "x.db", to=tmp_path / "to")
        assert (report.done, report.total) == (expected, 1)


def test_wrong_arguments_are_sentences(tmp_path, db):
    """No folder, nothing in it, outputs where a file is."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    for place, to, said in (
        ("nowhere", "to", "no such folder"),
        ("full/a", "to", "is a file"),
        ("empty", "to", "contains no file"),
        ("full", "full/a", "cannot be a folder"),
    ):
        with pytest.raises(ValueError, match=said):
            file_writer.main(tmp_path / place, db, to=tmp_path / to)
    assert not db.exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe"])
def test_what_lies_in_the_place_of_a_half_file_is_not_written_through(tmp_path, folder, write, monkeypatch, kind):
    """What it leads to stays as it is, and nothing is waited for."""
    theirs, to, halves = tmp_path / "bashrc", tmp_path / "to", []
    theirs.write_text("my settings")
    to.mkdir()
    for name in ("a.bin.gz", "b.bin.gz"):
        half = to / f".{hashlib.sha256(name.encode()).hexdigest()[:16]}.half"
        halves.append(half)
        misplace(kind, half, theirs)
    write()
    assert theirs.read_text() == "my settings"
    assert not (tmp_path / "nowhere").exists()
    assert not any(half.exists() or half.is_symlink() for half in halves)
    assert outputs_of(tmp_path) == inputs_of(folder)


def test_a_folder_that_leads_elsewhere_is_not_written_to(tmp_path, folder, write):
    """A link below the outputs' folder fails the tasks of what would go there."""
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "c.bin").write_bytes(b"c")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "deep").symlink_to(elsewhere)
    with pytest.raises(TasksFailedError, match="is a link to a place outside"):
        write()
    assert list(elsewhere.iterdir()) == []
