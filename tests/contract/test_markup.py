"""Names and messages that look like Rich's markup are shown as they are."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.progress import Progress

from pipeloom import MsgTaskProgress, MsgTaskStarted, TaskDef, make_task_progress, run_pipeline
from pipeloom.cli import cli

AT = "2026-01-31T12:00:00+00:00"
NASTY = "path [/tmp]"


@pytest.mark.parametrize("markup", [True, False], ids=["Rich's own columns", "ours"])
def test_a_name_like_markup_is_shown_as_it_is(serve, markup):
    """On bars that anybody made, the writer never makes Rich raise."""
    output = io.StringIO()
    progress = make_task_progress()
    screen = Console(file=output, force_terminal=True, width=100)
    shown = Progress(
        *(Progress.get_default_columns() if markup else progress.columns), console=screen, auto_refresh=False
    )
    bar = shown.add_task("waiting", total=None)
    with serve(task_progress=shown, task_bar_map={1: bar}) as (writer, source):
        source.put(MsgTaskStarted(1, NASTY, AT))
        source.put(MsgTaskProgress(1, 1, 2, NASTY))
        source.join()
        screen.print(shown.get_renderable())

    assert writer.failure is None
    assert markup or NASTY in output.getvalue()


def test_a_name_like_markup_is_shown_by_status_and_report(db):
    """In the table, in the report, in the log."""

    def worker(task, msg_q):
        raise ValueError(f"no {NASTY}")

    report = run_pipeline([TaskDef(1, NASTY)], db, worker_fn=worker, on_error="collect")
    shown = CliRunner().invoke(cli, ["status", "--db", str(db)])
    console = Console(file=io.StringIO(), width=100)
    console.print(report)

    assert shown.exit_code == 0
    assert NASTY in shown.output
    assert f"no {NASTY}" in console.file.getvalue()
