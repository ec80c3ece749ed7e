"""`lrsearch doctor`."""

from __future__ import annotations

import json

import click

from lrsearch.cli.columns import table
from lrsearch.cli.options import options
from lrsearch.errors import SearchFailed


@click.command()
@options("storage", "tracking_uri", "json")
def doctor(storage: str | None, tracking_uri: str | None, as_json: bool) -> None:
    """Examine this installation: versions, device, storage, tracking, room on the disk.

    \b
    Examples:
      lrsearch doctor
      lrsearch doctor --tracking-uri http://mlflow.example.com
    """
    from lrsearch import maintenance

    checks = maintenance.examine(storage=storage, tracking_uri=tracking_uri)
    if as_json:
        rows = {c.name: {"sound": c.sound, "found": c.found} for c in checks}
        click.echo(json.dumps(rows))
    else:
        lines = [("ok" if c.sound else "NO", c.name, c.found) for c in checks]
        click.echo(table(lines), nl=False)
    wrong = [check.name for check in checks if not check.sound]
    if wrong:
        raise SearchFailed(f"not as it must be: {', '.join(wrong)}; see the lines above")
