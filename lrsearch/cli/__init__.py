"""The command line: a command parses, calls one library function, prints.

Results go to stdout, progress and log lines to stderr. Exit codes: 0 done, 1 the search
failed, 2 the request was wrong, 3 no trial finished, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shlex
import signal
import sys
from multiprocessing.process import BaseProcess

import click

from lrsearch import __version__
from lrsearch.cli.claims import claims
from lrsearch.cli.compare import compare
from lrsearch.cli.export import export
from lrsearch.cli.listings import objectives, spaces
from lrsearch.cli.output import echo
from lrsearch.cli.pages import sync, ui
from lrsearch.cli.show import show
from lrsearch.cli.tune import tune
from lrsearch.cli.upkeep import doctor, repair, status
from lrsearch.cli.wording import OptionFormatter, as_options
from lrsearch.errors import LrsearchError, log, one_line
from lrsearch.redaction import redact
from lrsearch.search.signals import Interrupted
from lrsearch.workers.ranks import RankLost, rank_here


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lrsearch")
def cli() -> None:
    """Find the best learning-rate schedule for a training run.

    \b
    Start here:
      lrsearch tune                   the digits task: a result in about a minute
      lrsearch show digits-default    the leaderboard of that study
    """


for _command in (
    *(tune, compare, show, status, export, spaces, objectives, claims, ui, sync),
    *(repair, doctor),
):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `lrsearch`; None takes those of this process.

    Returns:
        The exit code.
    """
    _print_log(alone=arguments is None)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["lrsearch", *map(redact, words)])
    try:
        with cli.make_context("lrsearch", list(words)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as bare:
        print(bare.ctx.get_help() if bare.ctx else "")
        return 0
    except click.ClickException as error:
        return _refuse(error.format_message(), error.exit_code)
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except Interrupted as stop:
        _end_children()
        return _refuse(f"{stop}: {command}", stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _end_children()
        return _refuse(f"stopped; continue with the same command: {command}", 130)
    except BrokenPipeError:  # `lrsearch show … | head`: the reader stopped, which is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except LrsearchError as error:
        if rank_here() and not isinstance(error, RankLost):
            return error.exit_code  # rank 0 prints the same message
        echo(error.details.rstrip("\n"), err=True, nl=bool(error.details))
        return _refuse(str(error), error.exit_code)
    finally:
        if arguments is None:
            _announce_wait()
    return 0


def _print_log(*, alone: bool) -> None:
    """Print the log of lrsearch on stderr; the log of the user's own code is left to that code.

    Args:
        alone: True if this process runs nothing but the command, so that handlers of the root
            logger, which the user's code may add, need not get these records too.
    """
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(OptionFormatter("lrsearch: %(message)s"))
        log.addHandler(handler)
    log.propagate = not alone


def _children() -> list[BaseProcess]:
    """Return the processes of the user's code for which Python waits before it exits."""
    return [child for child in multiprocessing.active_children() if not child.daemon]


def _end_children() -> None:
    """End the processes that would keep an interrupted command from exiting."""
    for child in _children():
        child.terminate()


def _announce_wait() -> None:
    """Name the processes for which a command that is done still waits."""
    if left := ", ".join(str(child.pid) for child in _children()):
        log.warning(
            "waiting for processes that your code has started (%s); Ctrl-C ends the wait", left
        )


def _refuse(message: str, code: int) -> int:
    """Print a message as one line on stderr, and return the exit code."""
    echo(f"lrsearch: {one_line(as_options(message))}", err=True)
    return code
