"""Commands of lrsearch that take the user's own command after `--`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from lrsearch.errors import RequestError, log
from lrsearch.objectives.command import Command

#: Key of the words after `--` in click's context.
OWN_COMMAND = "lrsearch.command"
#: Options of a command after `--`.
COMMAND = tuple(field.name for field in fields(Command) if field.name != "words")


def read_command(asked: dict[str, Any], *, other: bool) -> Command | None:
    """Remove the options of a command from `asked`, and return the command that follows `--`.

    Args:
        asked: options by name.
        other: True if the command line names an objective too.

    Returns:
        the command, or None if there is none.

    Raises:
        RequestError: the command is wrong, or the options have no command.
    """
    meta = click.get_current_context().meta
    words = meta.get(OWN_COMMAND, ())
    own = {name: asked.pop(name) for name in COMMAND}
    if OWN_COMMAND in meta and not words:
        raise RequestError("there is no command after --; give one, or leave out --")
    if not words:
        for name in ("value", "value_from", "report"):
            if own[name] is not None:
                option = f"--{name.replace('_', '-')}"
                raise RequestError(f"{option} needs a command; give the command after --")
        return None
    if other:
        raise RequestError("an objective and a command after -- exclude each other; give one")
    command = Command(words=words, **own)
    if not command.takes_seed:
        log.warning(
            "the command has no {seed}, and its files do not name LRSEARCH_RUN_SEED: if it sets "
            "its own seed, all seeds are the same run"
        )
    return command


class TakesCommand(click.Command):
    """A command of lrsearch that takes the user's own command after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows `--` from the parser of the options."""
        if "--" in args:
            place = args.index("--")
            ctx.meta[OWN_COMMAND] = tuple(args[place + 1 :])
            args = args[:place]
        given = list(args)  # the parser empties the list
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # A script, or the program that runs it, among the arguments, but no `--` before it.
            own = {"python", "python3", "bash", "sh", "torchrun"} & {Path(a).name for a in given}
            if not own and not any(a.endswith(".py") for a in given[1:]):
                raise
            hint = f"{error.format_message()}; to run a command of your own, put -- before it"
            raise click.UsageError(hint, ctx) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND ...]"]
