"""`lrsearch sync` and `lrsearch ui`."""

from __future__ import annotations

import contextlib
import signal

import click

from lrsearch import publishing
from lrsearch.cli.options import options
from lrsearch.cli.output import echo


@click.command()
@click.argument("study")
@options("storage", "tracking_uri")
def sync(study: str, storage: str | None, tracking_uri: str | None) -> None:
    """Upload whatever MLflow is missing for STUDY. Safe to repeat.

    \b
    Examples:
      lrsearch sync digits-default
      lrsearch sync digits-default --tracking-uri http://mlflow.example.com
    """
    uri, run_id = publishing.sync(study, storage=storage, tracking_uri=tracking_uri)
    echo(f"{study} is in MLflow at {uri}, run {run_id}")


@click.command()
@click.argument("study", required=False)
@options("port", "storage", "tracking_uri")
def ui(study: str | None, port: int, storage: str | None, tracking_uri: str | None) -> None:
    """Serve MLflow on this machine and print the page of STUDY. Ctrl-C stops it.

    \b
    Examples:
      lrsearch ui digits-default
      lrsearch ui --port 5001 --tracking-uri sqlite:///mlflow.db
    """
    echo("starting MLflow's server (about ten seconds)", err=True)
    # SIGTERM stops it as Ctrl-C does; both are normal ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        publishing.serve(study, port=port, storage=storage, tracking_uri=tracking_uri) as page,
    ):
        echo(page.address)
        echo("Ctrl-C stops it", err=True)
        page.wait()
