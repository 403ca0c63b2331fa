"""From whatever a column holds to what is promised."""

from __future__ import annotations


def test_values_of_any_type_become_what_is_promised(written, opened):
    """SQLite's columns take anything: blobs, text that is no text, infinity."""
    written(
        pipeloom_runs=[{"id": 1, "status": b"\xff", "started_at": 5, "workers": "many", "versions": "[1"}],
        task_runs=[
            {"id": 1, "name": b"\xffname", "status": "done", "progress": "half", "message": 7, "key": 1.5},
            {"id": 2, "name": "n", "status": "done", "progress": 9e999, "elapsed_s": 9e999, "rows_written": "x"},
        ],
    )
    with opened() as history:
        second, first = history.tasks(limit=2)
        run = history.latest_run()

    assert (first.name, first.progress, first.message, first.key) == ("\\xffname", 0.0, "7", "1.5")
    assert (second.progress, second.elapsed_s, second.rows_written) == (0.0, None, 0)
    assert (run.status, run.started_at, run.workers, run.versions) == ("\\xff", "5", None, {})
