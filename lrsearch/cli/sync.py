"""`lrsearch sync`."""

from __future__ import annotations

import click

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
    from lrsearch import publishing

    uri, run_id = publishing.sync(study, storage=storage, tracking_uri=tracking_uri)
    click.echo(f"{study} is in MLflow at {uri}, run {run_id}")
