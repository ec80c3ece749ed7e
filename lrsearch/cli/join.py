"""The command that joins a search from another machine."""

from __future__ import annotations

import platform
import shlex

import click
from click.core import ParameterSource

from lrsearch.redaction import HIDDEN, redact
from lrsearch.study.location import Location

#: What another machine need not say: how this one prints.
OWN = ("as_json", "quiet")
GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def join_command(context: click.Context, location: Location) -> str:
    """What to type elsewhere, with everything that was asked for here, by variables too.

    Args:
        context: of the command in hand.
        location: of its study, in a database.
    """
    words = [*context.command_path.split()]
    for parameter in context.command.params:
        name, value = parameter.name, context.params.get(parameter.name or "")
        if name in OWN or context.get_parameter_source(name or "") not in GIVEN:
            continue
        if name == "storage":
            value = location.seen_from_elsewhere(platform.node())
        elif name == "tracking_uri":
            value = redact(str(value))
        flag = parameter.opts[0]
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(flag)
        elif name == "log_model":  # whose value may be left out
            words.append(f"{flag}={value}" if value else flag)
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [word for one in values for word in (flag, _written(one))]
    command = shlex.join(words)
    return f"{command} (with its password for {HIDDEN})" if HIDDEN in command else command


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
