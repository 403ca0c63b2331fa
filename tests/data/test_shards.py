"""Shards: every key falls to exactly one of n, the same one everywhere and for ever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeloom.data.keys import key_of
from pipeloom.data.shards import Shard, shard_of

keys = st.one_of(st.integers(), st.text(), st.binary().map(bytes.hex), st.tuples(st.text(), st.integers()))
# What an earlier version said of these keys, of 16 shards: files that are half done rest on it.
GOLDEN = {
    0: 4,
    1: 13,
    -1: 10,
    9223372036854775807: 13,
    "": 5,
    "0": 6,
    "a.csv": 11,
    "Ünïcode ✓": 5,
    "path:data/a.csv": 8,
    "date:2026-01-31": 1,
    "uuid:00000000-0000-0000-0000-000000000007": 6,
    "json:21ff5231d5f59d3b67df812449e9cd2494051696e01bcc370eac935438fdc75f": 15,
    "json:28160a4806663fe408f65cde07eb58b1e1456b1d9168c3c0db229c67452407a8": 3,
    "int:5902958103587056517120": 10,
    "x" * 440 + "…sha256:5130b33e6b87fbf5316ed9049e98924eb110800bcbaaad8050f642fba6df37c9": 10,
}


@given(keys, st.integers(1, 10_000))
def test_a_key_falls_to_exactly_one_shard(item, count):
    """Whatever it is made of, and of however many shards."""
    key = key_of(item)
    number = shard_of(key, count)

    assert 1 <= number <= count
    around = {1, number - 1, number, number + 1, count} & set(range(1, count + 1))
    assert [n for n in around if Shard(n, count).holds(key)] == [number]


@pytest.mark.parametrize("key", GOLDEN)
def test_a_key_falls_where_it_always_did(key):
    """In every process, whatever its hash seed, on every machine, and in every version of Python and of ours."""
    assert shard_of(key, 16) == GOLDEN[key]


@pytest.mark.parametrize(
    "make", [int, str, "part-{:06}.csv".format, "{}/a/b/c".format], ids=["int", "str", "a", "b"]
)
def test_shards_are_of_about_the_same_size(make):
    """Also of keys that look alike: within a fifth, where five standard deviations are a sixth."""
    sizes = Counter(shard_of(make(n), 16) for n in range(16_000))

    assert len(sizes) == 16
    assert all(800 < size < 1200 for size in sizes.values())


def test_keys_of_two_types_are_two():
    """What is stored as text that looks like a number is not the number, nor is a number beyond 64 bits."""
    spread = {shard_of(key, 1 << 60) for key in (5, "5", key_of("int:5"), key_of(5 << 70))}

    assert len(spread) == 4


def test_an_input_without_a_key_is_reported_once():
    """By the first shard."""
    assert [number for number in range(1, 17) if Shard(number, 16).holds(None)] == [1]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((0, 16), "from 1/16 to 16/16, since shards count from 1, not 0/16: add 1 to an array index"),
        ((17, 16), "from 1/16 to 16/16, since shards count from 1, not 17/16"),
        ((-1, 2), "not -1/2"),
        ((1, 0), "needs a count of at least 1"),
    ],
)
def test_a_shard_that_there_is_not_is_refused(value, sentence):
    """In a sentence that says how they are counted."""
    with pytest.raises(ValueError, match=sentence):
        Shard.checked(value)


@pytest.mark.parametrize("value", ["3/16", (3,), (1, 2, 3), (1.0, 2), (True, 2), {1, 2}, 3])
def test_what_is_no_pair_is_refused(value):
    """So is text, which only the command line takes."""
    with pytest.raises(TypeError, match=r"a pair of ints such as \(3, 16\)"):
        Shard.checked(value)


def test_the_command_line_writes_it_with_a_slash():
    """And reads what it writes."""
    assert Shard.read(str(Shard(3, 16))) == (3, 16)
    for text in ("3", "3/", "/16", "a/b", "-1/2", "3/16/2", "3:16", ""):
        with pytest.raises(ValueError, match="not a shard such as 3/16"):
            Shard.read(text)
