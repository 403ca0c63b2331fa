"""The command line: a thin layer, and the only place where errors become exit codes.

Each command has its own module, imported only when needed.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from pipeloom import __version__
from pipeloom.cli.suggesting import SuggestingGroup
from pipeloom.show.streams import lead_nowhere, outlive_readers

__all__ = ["main"]

EXIT_OK: Final = 0
EXIT_TASKS_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_STORAGE: Final = 3
EXIT_IN_USE: Final = 4
EXIT_INTERRUPTED: Final = 130

# command → (module, one line for the list)
_COMMANDS: Final = {
    "cancel": ("cancel", "Stop the current run."),
    "demo": ("demo", "Run simulated tasks to see what a run looks like."),
    "doctor": ("doctor", "Check the health of a database."),
    "errors": ("errors", "Show failures grouped by cause."),
    "examples": ("examples", "Run or copy complete example programs."),
    "forget": ("forget", "Delete tasks and their rows, so that they run again."),
    "init-db": ("init_db", "Create a database with an empty ledger."),
    "logs": ("logs", "Show the log records of one task, or follow them."),
    "merge": ("merge", "Merge several databases, such as one per shard, into one."),
    "metadata": ("metadata", "Print Datasette metadata: titles, descriptions, queries."),
    "report": ("report", "Write a report on one run as a single HTML file."),
    "run": ("run", "Call one of your functions: FILE_OR_MODULE[:FUNCTION]."),
    "runs": ("runs", "List the runs in a database."),
    "show": ("show", "Show everything about one task."),
    "status": ("status", "Show the state of the tasks in a database."),
    "tasks": ("tasks", "List tasks, filtered by status, name, run or duration."),
    "watch": ("watch", "Watch runs live in the terminal."),
    "web": ("web", "Watch runs live in the browser."),
}


class _Commands(SuggestingGroup):
    """Lists commands by name, and imports one only to run it or show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"pipeloom.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(_COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            # Not from our own output, which ignores closed pipes. Click would exit with 1 and say nothing.
            raise click.exceptions.Exit(_code_of(error)) from error


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pipeloom")
def cli() -> None:
    """One function, many inputs, one SQLite file: concurrent, watched, resumable."""


def main() -> NoReturn:
    """Run the command line and exit with its exit code."""
    outlive_readers()
    try:
        _run()
    except KeyboardInterrupt:  # another Ctrl-C while the previous one was being handled
        _leave_at_once(EXIT_INTERRUPTED)


def _run() -> NoReturn:
    code: object
    if "_PIPELOOM_COMPLETE" in os.environ:
        from pipeloom.cli.completing import speak_bash

        speak_bash()
    try:
        code = cli.main(prog_name="pipeloom", standalone_mode=False)
        code = code if isinstance(code, int) else EXIT_OK
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except SystemExit as stop:  # raised by a program that `pipeloom run` called
        code = stop.code
    except click.ClickException as error:
        try:
            error.show()
        except OSError:
            pass  # stderr cannot be written; the exit code still tells
        code = EXIT_USAGE
    except click.Abort as error:  # click raises it for Ctrl-C and for the end of input
        if not isinstance(error.__cause__, EOFError):
            _interrupted(error.__cause__)
        code = _code_of(error.__cause__)
    except KeyboardInterrupt as error:
        _interrupted(error)
    except BaseException as error:  # noqa: BLE001 - every error becomes a sentence and an exit code
        code = _code_of(error)
    _exit(code)


def _interrupted(error: BaseException | None) -> NoReturn:
    from pipeloom.errors import RunInterruptedError

    if isinstance(error, RunInterruptedError):
        _complain(error)
        (_leave_at_once if error.left_at_once else _exit)(error.exit_code)
    _complain("interrupted")
    _leave_at_once(EXIT_INTERRUPTED)


def _code_of(error: BaseException) -> int:
    """Print what went wrong, and where in the user's program; return the exit code."""
    from pipeloom import errors
    from pipeloom.cli.mistake import notes_of, place_of, print_traceback
    from pipeloom.data.text import describe

    is_verbose = _wants_traceback()
    if is_verbose:
        print_traceback(error)
    if isinstance(error, errors.TasksFailedError):
        _complain(error.report if error.report is not None else error)
        return EXIT_TASKS_FAILED
    if not isinstance(error, errors.PipeloomError):
        text = "\n".join([error.msg if isinstance(error, SyntaxError) else describe(error, 2000), *notes_of(error)])
        place = None if is_verbose else place_of(error)
        _complain(
            f"{type(error).__name__}{f': {text}' if text else ''}"
            + (f"\n  {place}\n  (-v shows the whole traceback)" if place else "")
        )
        return EXIT_TASKS_FAILED
    _complain(error)
    if isinstance(error, errors.DatabaseInUseError):
        return EXIT_IN_USE
    if isinstance(error, errors.StorageError | errors.WriterBrokenError):
        return EXIT_STORAGE
    return EXIT_TASKS_FAILED


def _wants_traceback() -> bool:
    words = sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]
    return any(word == "--verbose" or (word[:2] == "-v" and set(word[1:]) == {"v"}) for word in words)


def _complain(what: Any) -> None:
    from pipeloom.data.text import clean_block

    try:
        click.echo(f"pipeloom: {clean_block(str(what))}", err=True)
    except OSError:
        pass  # stderr cannot be written; the exit code still tells


def _exit(code: Any) -> NoReturn:
    """Exit; output lost to a full disk must not turn a successful run into a failed one."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            lead_nowhere(stream.fileno())
    lost = getattr(getattr(sys.stdout, "buffer", None), "lost", None)
    if lost is not None:
        _complain(f"the printed output is incomplete: {lost.strerror}")
    sys.exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """Exit on the third Ctrl-C without waiting, not even for the writer. The ledger is consistent at all times."""
    try:
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(code)
