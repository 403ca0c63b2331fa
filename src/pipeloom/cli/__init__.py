"""The command line: thin, and the only place where errors become exit codes.

Each command is a module of its own, imported when it is called for.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Final, NoReturn

import click

from pipeloom import __version__
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
    "cancel": ("cancel", "Ask the run that is going on to stop."),
    "demo": ("demo", "Run pretended tasks, to see what a run looks like."),
    "doctor": ("doctor", "Look whether a database is well."),
    "errors": ("errors", "Show what failed, grouped by what is the same."),
    "examples": ("examples", "Complete programs on real data, to start from."),
    "forget": ("forget", "Take tasks back, with their rows: the next call runs them again."),
    "init-db": ("init_db", "Create a database with an empty ledger."),
    "logs": ("logs", "Show what one task logged, or follow it."),
    "merge": ("merge", "Join several databases, such as those of shards, into one."),
    "metadata": ("metadata", "Print metadata for Datasette: titles, descriptions, queries."),
    "report": ("report", "Write everything about one run into one HTML file."),
    "run": ("run", "Call a function of yours: FILE_OR_MODULE[:FUNCTION]."),
    "runs": ("runs", "List the runs of a database."),
    "show": ("show", "Show everything about one task."),
    "status": ("status", "Show the state of the tasks in a database."),
    "tasks": ("tasks", "List tasks, by status, name, run or time taken."),
    "watch": ("watch", "Watch runs live, from any terminal."),
    "web": ("web", "Show a database in the browser, live."),
}


class _Commands(click.Group):
    """Knows its commands by name, and imports one only to run it or to show its help."""

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
            # Not of our own output, which outlives its readers: click would leave with 1 and not a word.
            raise click.exceptions.Exit(_code_of(error)) from error


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pipeloom")
def cli() -> None:
    """One function, many inputs, one SQLite file: concurrent, watched, resumable."""


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    outlive_readers()
    try:
        _run()
    except KeyboardInterrupt:  # one more, while the one before was being dealt with
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
    except SystemExit as stop:  # of a program that `pipeloom run` has called
        code = stop.code
    except click.ClickException as error:
        try:
            error.show()
        except OSError:
            pass  # it cannot be written; the exit code still tells
        code = EXIT_USAGE
    except click.Abort as error:  # which click makes of a Ctrl-C, and of an input that has ended
        if not isinstance(error.__cause__, EOFError):
            _interrupted(error.__cause__)
        code = _code_of(error.__cause__)
    except KeyboardInterrupt as error:
        _interrupted(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is becomes a sentence and an exit code
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
    """Say what went wrong in one sentence, and where in a user's program; return the exit code for it."""
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
        pass  # it cannot be written; the exit code still tells


def _exit(code: Any) -> NoReturn:
    """Leave; what a full disk does not take of a program's words must not turn a good run into a bad one."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            lead_nowhere(stream.fileno())
    lost = getattr(getattr(sys.stdout, "buffer", None), "lost", None)
    if lost is not None:
        _complain(f"what was printed is not complete: {lost.strerror}")
    sys.exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """The third Ctrl-C: wait for nobody, the writer's thread included. The ledger is sound at every instant."""
    try:
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(code)
