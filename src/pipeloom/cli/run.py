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
    """Keeps what stands behind ``--`` from click, which would read it as more of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta[__name__] = args[:at], args[at + 1 :]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- WORDS]"]


@click.command(name="run", cls=_Run)
@click.argument("target", metavar="FILE_OR_MODULE[:FUNCTION]")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="An argument of the function; repeatable.")
@click.option(
    "--shard",
    callback=_shard,
    metavar="I/N",
    help="Do one of N shards, from 1/N to N/N: the function gets it as shard, to pass it to pipeloom.map.",
)
@verbose_option
@click.option("-l", "--log-file", type=click.Path(path_type=Path), metavar="PATH", help="Append log records here.")
@click.pass_context
def command(
    ctx: click.Context,
    target: str,
    pairs: tuple[str, ...],
    shard: Shard | None,
    verbose: int,
    log_file: Path | None,
) -> int:
    """Call a function of yours, such as one that calls pipeloom.map; FUNCTION defaults to main.

    The current directory is importable. A value is converted to the type of the parameter's annotation (int, float,
    bool, Path, a date, an Enum, a list of these by repeating --arg), or without one of its default. An async
    function is run to its end. WORDS are put into sys.argv, for a function that parses it with argparse or click.
    """
    from pipeloom import setup_logging

    meant = target_of(target)
    words = ctx.meta.get(__name__, [])
    setup_logging(verbose, log_file)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(output := getattr(stream, "buffer", None), Output):
            output.outlives_disks = True  # what a program prints is not its work
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
    """Have the program see its own command line, as if Python had started it."""
    before, sys.argv = sys.argv, [place, *words]
    try:
        yield sys.argv
    finally:
        sys.argv = before


def _sharded(function: Callable[..., Any], shard: Shard, pairs: Sequence[str], place: str) -> Callable[..., Any]:
    """Return a function with its argument ``shard``."""
    if isinstance(function, click.Command):
        raise click.UsageError(f"{clean(place)}: a command of click's takes its words behind --, not by --shard")
    parameters = inspect.signature(function).parameters.values()
    if not any(one.name == "shard" or one.kind is one.VAR_KEYWORD for one in parameters):
        raise click.UsageError(
            f"{clean(place)}: the function has no argument shard: give it one, and pass it on, as in "
            "pipeloom.map(..., shard=shard)"
        )
    if any(pair.startswith("shard=") for pair in pairs):
        raise click.UsageError("--shard and --arg shard= say the same: leave one out")
    return functools.partial(function, shard=shard)


def _called(function: Callable[..., Any], pairs: Sequence[str], words: Sequence[str], place: str) -> Any:
    if isinstance(function, click.Command):
        if pairs:
            raise click.UsageError(f"{clean(place)}: a command of click's takes its words behind --, not by --arg")
        try:
            with function.make_context(Path(place).name, list(words)) as ctx:
                return function.invoke(ctx)
        except click.ClickException as error:  # of the program: it has exit codes of its own
            error.show()
            raise click.exceptions.Exit(error.exit_code) from error
    args, named = bound(function, pairs)
    outcome = function(*args, **named)
    if inspect.iscoroutine(outcome):
        import asyncio  # only here: it would be a tenth of the time that a short run takes

        outcome = asyncio.run(outcome)
    if inspect.isgenerator(outcome) or inspect.isasyncgen(outcome):
        raise click.UsageError(f"{clean(place)}: the function returned a generator, and nothing of that was run")
    return outcome


def _reports(outcome: object) -> list[RunReport]:
    """Return the reports that a function has returned: one, or a list or tuple of nothing else."""
    from pipeloom import RunReport

    found = list(outcome) if isinstance(outcome, list | tuple) else [outcome]
    reports = [one for one in found if isinstance(one, RunReport)]
    return reports if len(reports) == len(found) else []
