"""A group of commands that suggests the nearest one for a word that names none."""

from __future__ import annotations

from difflib import get_close_matches

import click

from pipeloom.data.text import clean

__all__ = ["SuggestingGroup"]


class SuggestingGroup(click.Group):
    """Suggests a command, as newer versions of click do for the commands that a group has already imported."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments; called by click.

        Raises:
            click.UsageError: There is no such command; the message names the nearest one.
        """
        name = args[0]
        if ctx.resilient_parsing or name[:1] == "-" or self.get_command(ctx, name) is not None:
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, self.list_commands(ctx), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise click.UsageError(f"No such command {clean(name, 80)!r}.{hint}", ctx)
