"""``pipeloom demo``."""

from __future__ import annotations

from pathlib import Path

import click

from pipeloom.cli.options import db_option_of, say, verbose_option, workers_option


@click.command(name="demo")
@db_option_of()
@click.option(
    "-n", "--num-tasks", type=click.IntRange(min=0), default=20, show_default=True, help="Number of tasks."
)
@workers_option
@click.option("--no-wal", is_flag=True, help="Use a rollback journal instead of a write-ahead log.")
@click.option(
    "-s/-S",
    "--store-task-status/--no-store-task-status",
    default=True,
    show_default=True,
    help="Keep the ledger of tasks in the database.",
)
@verbose_option
@click.option("-l", "--log-file", type=click.Path(path_type=Path), metavar="PATH", help="Append log records here.")
def command(
    db: Path,
    num_tasks: int,
    workers: int | None,
    no_wal: bool,
    store_task_status: bool,
    verbose: int,
    log_file: Path | None,
) -> None:
    """Run simulated tasks to see what a run looks like."""
    from pipeloom import run_pipeline, setup_logging
    from pipeloom.demo import DemoTask, demo_worker

    setup_logging(verbose, log_file)
    report = run_pipeline(
        [DemoTask(number, f"task-{number}") for number in range(1, num_tasks + 1)],
        db,
        workers=workers,
        wal=not no_wal,
        store_task_status=store_task_status,
        worker_fn=demo_worker,
    )
    say(report)
