"""``pipeloom run``."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeloom.cli.options import say, verbose_option
from pipeloom.cli.running.arguments import bound
from pipeloom.cli.running.target import function_of, module_of, target_of
from pipeloom.data.shards import Shard
from pipeloom.data.text import clean
from pipeloom.show.streams import Output
from pipeloom.statuses import DONE

if TYPE_CHECKING:
    from pipeloom import RunReport


def _shard(_context: click.Context, option: click.Parameter, text: str | None) -> Shard | None:
    try:
        return None if text is None else Shard.read(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param=option) from None


class _Run(click.Command):
    """Hides what follows ``--`` from click, which would parse it as its own arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[__name__] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- WORDS]"]


@click.command(name="run", cls=_Run)
@click.argument("target", metavar="FILE_OR_MODULE[:FUNCTION]")
@click.option(
    "--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="Pass an argument to the function; repeatable."
)
@click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="Process one of N shards, 1/N to N/N. The function receives it as shard and passes it to pipeloom.map.",
)
@verbose_option
@click.option(
    "-l", "--log-file", type=click.Path(path_type=Path), metavar="PATH", help="Append log records to this file."
)
@click.pass_context
def command(
    ctx: click.Context,
    target: str,
    pairs: tuple[str, ...],
    shard: Shard | None,
    verbose: int,
    log_file: Path | None,
) -> int:
    """Call one of your functions, such as one that calls pipeloom.map. FUNCTION defaults to main.

    The current directory is importable. Each --arg value is converted to the type of the parameter's annotation
    (int, float, bool, Path, a date, an Enum; repeat --arg for a list of these) or, without an annotation, to the
    type of its default. An async function is awaited. WORDS become sys.argv, for a function that parses it with
    argparse or click.
    """
    from pipeloom import setup_logging

    meant = target_of(target)
    words = ctx.meta.get(__name__, [])
    setup_logging(verbose, log_file)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(output := getattr(stream, "buffer", None), Output):
            output.outlives_disks = True  # printing is not the program's actual work
    with _argv(meant.place, words) as argv:
        module = module_of(meant)
        if not meant.is_file:
            argv[0] = getattr(module, "__file__", None) or meant.place
        function = function_of(module, meant)
        if shard is not None:
            function = _sharded(function, shard, pairs, meant.place)
        outcome = _called(function, pairs, words, meant.place)
    reports = _reports(outcome)
    for report in reports:
        say(report)
    if not reports and outcome is not None:
        say(str(outcome))
    return 1 if any(report.status != DONE for report in reports) else 0


@contextmanager
def _argv(place: str, words: Sequence[str]) -> Iterator[list[str]]:
    """Give the program its own sys.argv, as if Python had started it."""
    before, sys.argv = sys.argv, [place, *words]
    try:
        yield sys.argv
    finally:
        sys.argv = before


def _sharded(function: Callable[..., Any], shard: Shard, pairs: Sequence[str], place: str) -> Callable[..., Any]:
    """Bind the argument ``shard``."""
    if isinstance(function, click.Command):
        raise click.UsageError(f"{clean(place)} is a click command: pass its arguments after --, not with --shard")
    parameters = inspect.signature(function).parameters.values()
    if not any(one.name == "shard" or one.kind is one.VAR_KEYWORD for one in parameters):
        raise click.UsageError(
            f"{clean(place)}: --shard needs a function with a parameter named shard: add one, and pass it on with "
            "pipeloom.map(..., shard=shard)"
        )
    if any(pair.startswith("shard=") for pair in pairs):
        raise click.UsageError("--shard and --arg shard= mean the same: leave one out")
    return functools.partial(function, shard=shard)


def _called(function: Callable[..., Any], pairs: Sequence[str], words: Sequence[str], place: str) -> Any:
    if isinstance(function, click.Command):
        if pairs:
            raise click.UsageError(
                f"{clean(place)} is a click command: pass its arguments after --, not with --arg"
            )
        try:
            with function.make_context(Path(place).name, list(words)) as ctx:
                return function.invoke(ctx)
        except click.ClickException as error:  # the program's own, with its own exit code
            error.show()
            raise click.exceptions.Exit(error.exit_code) from error
    args, named = bound(function, pairs)
    outcome = function(*args, **named)
    if inspect.iscoroutine(outcome):
        import asyncio  # imported late: it would add a tenth to the time of a short run

        outcome = asyncio.run(outcome)
    if inspect.isgenerator(outcome) or inspect.isasyncgen(outcome):
        raise click.UsageError(
            f"{clean(place)}: the function returned a generator, which has not run: name a function that "
            "iterates over it"
        )
    return outcome


def _reports(outcome: object) -> list[RunReport]:
    """Return the reports in a function's result: a single one, or a list or tuple of reports only."""
    from pipeloom import RunReport

    found = list(outcome) if isinstance(outcome, list | tuple) else [outcome]
    reports = [one for one in found if isinstance(one, RunReport)]
    return reports if len(reports) == len(found) else []
