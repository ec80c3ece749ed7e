"""`lrsearch sync` and `lrsearch ui`."""

from __future__ import annotations

import contextlib
import signal

import click

from lrsearch import publishing
from lrsearch.cli.options import options


@click.command()
@click.argument("study")
@options("storage", "tracking_uri")
def sync(study: str, storage: str | None, tracking_uri: str | None) -> None:
    """Write to MLflow what it lacks of STUDY; again, and nothing changes.

    \b
    Examples:
      lrsearch sync digits-default
      lrsearch sync digits-default --tracking-uri http://mlflow.example.com
    """
    uri, run_id = publishing.sync(study, storage=storage, tracking_uri=tracking_uri)
    click.echo(f"{study} is in MLflow at {uri}, run {run_id}")


@click.command()
@click.argument("study", required=False)
@options("port", "storage", "tracking_uri")
def ui(study: str | None, port: int, storage: str | None, tracking_uri: str | None) -> None:
    """Serve MLflow's pages on this machine, and say where STUDY is. Ctrl-C stops it.

    \b
    Examples:
      lrsearch ui digits-default
      lrsearch ui --port 5001 --tracking-uri sqlite:///mlflow.db
    """
    click.echo("starting MLflow's server, which takes some ten seconds", err=True)
    # SIGTERM stops it as Ctrl-C does, and either is how it is meant to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        publishing.serve(study, port=port, storage=storage, tracking_uri=tracking_uri) as page,
    ):
        click.echo(page.address)
        click.echo("Ctrl-C stops it", err=True)
        page.wait()
