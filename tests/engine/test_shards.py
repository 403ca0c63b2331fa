"""``shard=``: each of n calls runs its own part of the inputs, in a file of its own."""

from __future__ import annotations

import itertools
import logging

import pytest

import pipeloom
from pipeloom import LedgerError


def work(item, ctx):
    """Store the input."""
    ctx.write("seen", {"item": item})
    if item == "bad":
        raise ValueError(item)
    return item


def run(items, db, shard=None, **options):
    """Run quietly."""
    return pipeloom.map(work, items, db=db, shard=shard, progress=False, on_error="collect", **options)


def test_every_input_is_run_by_exactly_one_shard(tmp_path, read):
    """Of a generator, too; a second call with the same shard does what is left of it, and nothing else."""
    items = [f"key-{n}" for n in range(100)]
    found = []
    for number in (1, 2, 3):
        db = tmp_path / f"{number}.db"
        report = run(iter(items[:60]), db, (number, 3))
        again = run(iter(items), db, (number, 3))
        assert again.skipped == report.done > 0
        found += [item for (item,) in read(db, "SELECT item FROM seen")]

    assert sorted(found) == sorted(items)


def test_the_runs_row_says_which_shard_it_is_and_does_not_count_the_others_inputs(db, read):
    """How many are its own is not known beforehand, so nothing says that some are left."""
    report = run(list(range(40)), db, (2, 4))

    assert 0 < report.total < 40
    assert read(db, "SELECT shard, expected, done FROM pipeloom_runs") == [("2/4", None, report.done)]


def test_an_input_without_a_key_fails_once(tmp_path):
    """In the first shard."""
    failed = [run([object(), 1, 2], tmp_path / f"{n}.db", (n, 3)).failed for n in (1, 2, 3)]

    assert failed == [1, 0, 0]


def test_inputs_of_other_shards_hold_up_nobody(db):
    """Endless inputs, most of which are another shard's, are read until the run ends by itself."""

    def endless():
        yield from (item for item in itertools.count() if item % 7)

    def stop(item):
        raise RuntimeError(item)

    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(stop, endless(), db=db, shard=(1, 1000), on_error="stop", progress=False)


def test_tasks_with_keys_of_their_own_have_shards_too(tmp_path):
    """With ``run_pipeline(key=)``."""
    done = [
        pipeloom.run_pipeline(
            range(30), tmp_path / f"{n}.db", worker_fn=lambda n, ctx: None, key=str, shard=(n, 2), progress=False
        ).done
        for n in (1, 2)
    ]

    assert sum(done) == 30
    assert min(done) > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({}, "shard= needs key="), ({"key": str, "store_task_status": False}, "shard= needs the ledger")],
)
def test_shards_need_keys_that_are_kept(db, options, sentence):
    """Refused before a file is made."""
    with pytest.raises(ValueError, match=sentence):
        pipeloom.run_pipeline([1], db, worker_fn=lambda n, ctx: None, shard=(1, 2), **options)
    assert not db.exists()


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), "1/2", (1.0, 2)])
def test_a_shard_that_there_is_not_is_refused_at_the_call(db, shard):
    """Before a file is made."""
    with pytest.raises((ValueError, TypeError), match=r"^shard must be"):
        run([1], db, shard)
    assert not db.exists()


@pytest.mark.parametrize("other", [(2, 2), (1, 3)])
def test_a_file_takes_one_shard_of_a_pipeline(db, read, other):
    """Another one is refused in one sentence, and leaves no trace; another pipeline is another matter."""
    run([1, 2, 3], db, (1, 2))
    with pytest.raises(
        LedgerError, match=r"holds shard 1/2 of .*:work, and this call is for shard ./.: use a separate"
    ):
        run([1, 2, 3], db, other)

    assert read(db, "SELECT COUNT(*) FROM pipeloom_runs") == [(1,)]
    run([1, 2, 3], db, other, name="another")


def test_all_inputs_in_the_file_of_a_shard_are_run_with_a_warning(db, package_log, caplog):
    """It may be meant: somebody gave up on shards. With all of them there, or with one shard of one, it is."""
    run([1, 2, 3, 4], db, (1, 2))
    with caplog.at_level(logging.WARNING):
        report = run([1, 2, 3, 4], db)
    assert report.total == 4
    assert "holds shard 1/2 of" in caplog.text
    assert "to continue only that shard, pass shard=" in caplog.text
    caplog.clear()
    run([1], db.with_name("whole.db"), (1, 1))
    run([1], db.with_name("whole.db"))

    assert not caplog.records
