"""Which files are found: each once, whatever leads to it, and all else by name."""

from __future__ import annotations

import os
import zipfile

import pytest

from pipeloom.examples.delimited import find


@pytest.fixture
def folder(tmp_path):
    """An empty folder."""
    path = tmp_path / "in"
    path.mkdir()
    return path


def test_a_file_is_one_file_under_all_spellings_of_its_path(tmp_path, folder, monkeypatch):
    """The key is the real path, relative to the database's folder."""
    (folder / "a.csv").write_text("x\n1\n")
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    spellings = [Path("in"), Path("./in"), folder, tmp_path / "link", Path("in/../link")]
    assert {source.key for place in spellings for source in find(place, Path()).sources} == {"in/a.csv"}
    monkeypatch.chdir(folder)
    assert [source.key for source in find(Path(), Path("..")).sources] == ["in/a.csv"]
    assert [source.key for source in find(folder, tmp_path / "elsewhere").sources] == ["../in/a.csv"]


def test_links_are_followed_and_nothing_comes_twice(folder):
    """Links to files, to folders, and one that leads round in a circle; the file itself comes before its links."""
    (folder / "sub").mkdir()
    (folder / "sub" / "b.csv").write_text("x\n")
    (folder / "a_link.csv").symlink_to("sub/b.csv")
    (folder / "a_linked").symlink_to("sub")
    (folder / "sub" / "round").symlink_to("..")
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "c.csv").write_text("x\n")
    (folder / "other").symlink_to(outside)
    found = find(folder, folder)

    assert [source.name for source in found.sources] == ["other/c.csv", "sub/b.csv"]
    assert [source.key for source in found.sources] == ["../outside/c.csv", "sub/b.csv"]
    assert found.passed_over == {
        "links to folders that are read anyway": ["a_linked", "sub/round"],
        "links to files that are loaded anyway": ["a_link.csv"],
    }


def test_what_is_no_failure_is_passed_over_by_name(folder):
    """Hidden files and folders, other endings, folders named like a file; those are looked into."""
    for name in (".a.csv", "README", "b.csv.bak", "t.csv"):
        (folder / name).write_text("x\n")
    for name in (".git", "part.csv"):
        (folder / name).mkdir()
        (folder / name / "p.csv").write_text("x\n")
    found = find(folder, folder)

    assert [source.name for source in found.sources] == ["part.csv/p.csv", "t.csv"]
    assert found.passed_over == {
        "hidden": [".a.csv", ".git"],
        "with other suffixes": ["README", "b.csv.bak"],
        "folders named like a file, whose files are loaded": ["part.csv"],
    }


def test_what_cannot_be_read_is_found_with_its_trouble(folder):
    """So that its task says so: pipes, archives that are none, members that are encrypted or packed twice."""
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.zip")
    (folder / "none.zip").write_text("x\n1\n")
    with zipfile.ZipFile(folder / "two.zip", "w") as archive:
        archive.writestr("a.csv.gz", "x\n1\n")
        archive.writestr("b.csv", "x\n1\n")
    with zipfile.ZipFile(folder / "e.csv.zip", "w") as archive:
        archive.writestr("README", "nothing")
    content = bytearray((folder / "two.zip").read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1  # the flag that says: encrypted
    (folder / "two.zip").write_bytes(content)
    troubles = {source.name: source.trouble for source in find(folder, folder).sources}

    assert troubles == {
        "e.csv.zip": "contains no .csv or .tsv file",
        "none.zip": "cannot be unpacked: File is not a zip file",
        "pipe.csv": "is not a regular file",
        "pipe.zip": "is not a regular file",
        "two.zip/a.csv.gz": "uses a compression that cannot be read within an archive: unpack it",
        "two.zip/b.csv": "is encrypted: unpack the archive, and load its contents",
    }


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.csv", "a"), ("A.TSV", "A"), ("a.b.csv.gz", "a.b"), ("x.tsv.zst", "x")],
)
def test_a_table_is_named_after_the_file_without_its_endings(folder, name, stem):
    """Whatever it is packed in."""
    (folder / name).write_text("")
    (source,) = find(folder, folder).sources
    assert (source.stem, source.is_tsv) == (stem, "tsv" in name.lower())
