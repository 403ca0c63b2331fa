"""``pipeloom report``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import db_option, json_option, run_option, say, traceback_option
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from pipeloom.history import History, RunFigures, RunRow
    from pipeloom.show.report_page import Failures

_GROUPS: Final = 50
_KEYS: Final = 20  # of each kind
_DEADLINE_S: Final = 60.0  # per query; long, since only the caller waits for the file
_OF_THE_DATABASE: Final = ("", "-wal", "-shm", "-journal", "-cancel")


class PlaceRefusedError(click.ClickException):
    """The report cannot be written to this place; shown without the usage lines."""

    exit_code = 2


@click.command(name="report")
@db_option
@run_option("Number of the run. Default: the latest.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Output file; - is standard output. Default: <database>-run-N.html in the current directory.",
)
@json_option
@traceback_option
def command(db: Path, run_id: int | None, output: Path | None, as_document: bool) -> None:
    """Write a report on one run as a single HTML file to share. Reads only; works even during the run.

    The file needs no network and runs no scripts. It contains task names, messages and tracebacks of failures,
    and the name of the machine.
    """
    from pipeloom.data.clock import utc_now
    from pipeloom.history import History
    from pipeloom.show.report_page import run_page

    to_stdout = output is not None and str(output) == "-"
    if as_document and output is not None and not to_stdout:
        raise click.UsageError("--json writes to standard output: drop -o and redirect the output instead")
    if output is not None and not to_stdout:
        _check_place(output, db)
    with History(db, deadline_s=_DEADLINE_S) as history:
        run = _run(history, run_id)
        figures = history.figures(run)
        failures = _failures(history, run.run_id, keys=0 if as_document else _KEYS)
    if as_document:
        formatting.tell(_document(run, figures, failures))
        return
    page = run_page(run, figures, failures, db_name=db.name, made_at=utc_now()).encode()
    if to_stdout:
        click.echo(page, nl=False)
        return
    if output is None:
        output = Path(f"{db.stem}-run-{run.run_id}.html")
        _check_place(output, db)
    _write(output, page)
    say(f"{clean(output)}: run {run.run_id}, {len(page) / 1024:,.0f} KiB")


def _run(history: History, run_id: int | None) -> RunRow:
    formatting.check_run(history, run_id)
    run = history.latest_run() if run_id is None else history.run(run_id)
    if run is None:
        raise formatting.NotThereError(f"{clean(history.path)}: no runs yet, so there is nothing to report on")
    return run


def _failures(history: History, run_id: int, keys: int) -> Failures:
    """Return the failures of a run, with the names of at most ``keys`` tasks of each kind.

    Files from older versions get no names, since each kind would need a scan of all failures.
    """
    from pipeloom.show.report_page import Failures

    groups = history.error_groups(run_id, limit=_GROUPS)
    left = history.kinds(run_id)[_GROUPS:] if len(groups) == _GROUPS else ()
    names = {
        group.kind: [
            task.name for task in history.tasks(limit=keys, order="oldest", run_id=run_id, kind=group.kind)
        ]
        for group in groups
        if keys and history.stores_kinds
    }
    return Failures(groups, names, len(left), sum(count for _, count in left))


def _document(run: RunRow, figures: RunFigures, failures: Failures) -> dict[str, Any]:
    return {
        "run": formatting.as_json(run),
        "figures": formatting.as_json(figures),
        "failures": [formatting.as_json(group) for group in failures.groups],
        "more_kinds": failures.more_kinds,
        "more_tasks": failures.more_tasks,
    }


def _check_place(output: Path, db: Path) -> None:
    """Refuse to overwrite the database, its companion files, or anything that is not an HTML page."""
    place, database = Path(os.path.realpath(output)), Path(os.path.realpath(db))
    if place in [database.with_name(database.name + suffix) for suffix in _OF_THE_DATABASE] or _is_same(
        place, database
    ):
        raise PlaceRefusedError(f"{clean(output)} is the database or one of its files: write the report elsewhere")
    if place.is_dir():
        raise PlaceRefusedError(
            f"{clean(output)} is a directory: name a file in it, such as {clean(output)}/run.html"
        )
    if not place.parent.is_dir():
        raise PlaceRefusedError(
            f"{clean(output)}: the directory {clean(place.parent)} does not exist: create it first"
        )
    try:
        if place.is_file() and place.stat().st_size and not _is_page(place):
            raise PlaceRefusedError(
                f"{clean(output)} exists and is not an HTML page: choose another name, or delete it"
            )
    except OSError as error:
        raise PlaceRefusedError(f"{clean(output)}: {error.strerror}: choose another name") from error


def _is_same(place: Path, database: Path) -> bool:
    try:
        return place.samefile(database)
    except OSError:
        return False


def _is_page(place: Path) -> bool:
    with place.open("rb") as file:
        return file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))


def _write(output: Path, page: bytes) -> None:
    """Replace the page atomically: a reader sees the old page or the new one, never a part."""
    from pipeloom.errors import StorageError

    place = Path(os.path.realpath(output))
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        if place.exists() and not place.is_file():  # a pipe or a device
            place.write_bytes(page)
            return
        try:
            with beside.open("xb") as file:
                file.write(page)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(place)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{clean(output)} cannot be written ({error.strerror}): choose another place with -o", path=output
        ) from error
