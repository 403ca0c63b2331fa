"""``pipeloom merge``: files named on the command line become one."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli.merge import command


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Two of three shards, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        pipeloom.map(str, range(9), db=f"{number}.db", shard=(number, 3), progress=False)


@pytest.fixture
def merge(parts):
    """Call it; returns the exit code and what it said."""

    def call(*words):
        done = CliRunner().invoke(command, words)
        return done.exit_code, done.output, done.exception

    return call


def test_it_says_what_it_has_merged_and_what_is_not_there(merge):
    """In words, or as a document."""
    code, said, _ = merge("out.db", "1.db", "2.db")
    assert code == 0
    assert said.startswith("out.db: 2 files merged in ")
    assert "  not there: builtins:str, shard 3/3\n" in said

    code, said, _ = merge("o2.db", "1.db", "2.db", "--json")
    told = json.loads(said)
    assert code == 0
    assert (told["files"], told["runs"], told["missing"]) == (2, 2, ["builtins:str, shard 3/3"])


def test_a_forgotten_out_costs_nothing(merge, tmp_path):
    """``pipeloom merge parts/*.db`` does not write into the first of them."""
    before = (tmp_path / "1.db").read_bytes()
    _, _, error = merge("1.db", "2.db")

    assert isinstance(error, pipeloom.StorageError)
    assert (tmp_path / "1.db").read_bytes() == before
    assert merge("1.db", "2.db", "--append")[0] == 0


def test_wrong_words_are_usage(merge):
    """Exit code 2, with what to do."""
    for words, said in (
        (("out.db",), "Missing argument 'IN...'"),
        (("out.db", "1.db", "1.db"), "1.db is named twice"),
        (("out.db", "1.db", "--renumber", "nope"), "no file has a table nope"),
        (("out.db", "http://host/1.db"), "not a URL"),
    ):
        code, output, _ = merge(*words)
        assert (code, said in output) == (2, True), output
