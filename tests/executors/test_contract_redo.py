"""Doing work again, on every executor: rows know their task, and what is done again replaces them."""

from __future__ import annotations

import pipeloom
from executors.redoing import Input, writes


def test_what_has_changed_replaces_its_rows(executor, db, read):
    """Few rows and many, tries that fail, checkpoints where there are any; then all of it once more."""
    halfway = "checkpoint" if "checkpoint" in executor.can else "fails"

    def run(items, **options):
        return pipeloom.map(
            executor.of(writes), items, db=db, name="redo", key=lambda item: item.key, workers=2, progress=False,
            version=lambda item: item.version, durability="off", on_error="collect",
            retries=pipeloom.Retry(attempts=2, delay_s=0), **options, **executor.options,
        )  # fmt: skip

    def generations():
        return read(
            db,
            "SELECT g.key, g.version, COUNT(*), COUNT(DISTINCT n) FROM generations g JOIN task_runs t "
            "ON t.id = g._task_id AND t.key = g.key AND t.version = g.version GROUP BY 1, 2 ORDER BY 1",
        )

    first = [Input(n, 0, 900 if n == 3 else 1 + n, "fails" if n == 2 else "") for n in range(12)]
    assert run(first).done == 12
    assert generations() == [(item.key, 0, item.rows, item.rows) for item in first]

    deeds = {1: "fails", 5: halfway}
    second = [
        Input(item.key, 1, 2000 if item.key == 7 else 2, deeds.get(item.key, "")) if item.key % 2 else item
        for item in first
    ]
    report = run(second)
    assert (report.done, report.skipped) == (6, 6)
    assert generations() == [(item.key, item.version, item.rows, item.rows) for item in second]

    third = [item._replace(version=2, rows=3, deed="") for item in first]
    assert run(third, resume=False).done == 12
    assert generations() == [(item.key, 2, 3, 3) for item in third]
    assert read(db, "SELECT COUNT(*) FROM generations") == [(36,)]
