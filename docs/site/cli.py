"""The page about the command line, generated from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from pipeloom.cli import cli


def commands(
    group: click.Group = cli, above: str = "pipeloom"
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command that can be typed, with its full name."""
    with click.Context(group, info_name=above) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            full = f"{above} {name}"
            yield full, command, click.Context(command, info_name=full)
            if isinstance(command, click.Group):
                yield from commands(command, full)


def anchor(full: str) -> str:
    """The anchor of a command on the page: its name without ``pipeloom``."""
    return full.removeprefix("pipeloom ").replace(" ", "-")


def page() -> str:
    """The whole page."""
    text = ["# Command line", _paragraphs(cli.help or "")]
    listed = [
        f"- [`{full}`](#{anchor(full)}): {command.get_short_help_str(200)}" for full, command, _ in commands()
    ]
    text += ["\n".join(listed), "`pipeloom --version` prints the version. Every command has `--help`."]
    for full, command, ctx in commands():
        text += [f"## `{full}` {{ #{anchor(full)} }}"]
        usage = " ".join([full, *command.collect_usage_pieces(ctx)])
        text += [f"```text\n{usage}\n```", _paragraphs(command.help or ""), *_options(command, ctx)]
        if command.epilog:
            text.append(_paragraphs(command.epilog))
    return "\n\n".join(text) + "\n"


def _options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    found = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and record[1]:  # an argument without a help text appears only in the usage
            found.append(f"`{record[0]}`\n:   {_inline(record[1])}")
    if found:
        yield "**Options**"
        yield "\n\n".join(found)


def _paragraphs(about: str) -> str:
    """The help as Markdown; tables are printed as they are."""
    found = []
    for part in re.split(r"\n\s*\n", about.strip()):
        text = part.strip().removeprefix("\b").strip("\n")
        if re.search(r"\S  |^ ", text, re.MULTILINE):  # columns, or something indented
            found.append(f"```text\n{text}\n```")
        else:
            found.append(_inline(text))
    return "\n\n".join(found)


def _inline(text: str) -> str:
    """Escape what Markdown or HTML would interpret."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    spans = re.split(r"(`[^`]*`)", text)
    return "".join(s if s[:1] == "`" else re.sub(r"([*_<>\[\]])", r"\\\1", s) for s in spans)
