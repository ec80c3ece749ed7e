"""`lrsearch repair`."""

from __future__ import annotations

import click

from lrsearch.cli.options import options


@click.command()
@click.argument("study")
@options("storage")
def repair(study: str, storage: str | None) -> None:
    """Keep what is sound of STUDY's journal, and set the damaged file aside.

    Every record carries a checksum, so that what is kept is what was written. A torn last line
    needs no repair: the next search cuts it off.

    \b
    Examples:
      lrsearch repair digits-default
    """
    from lrsearch import maintenance

    done = maintenance.repair(study, storage=storage)
    if done.aside is None:
        click.echo(f"{study} is sound: {done.lines} records, {done.trials} trials")
        return
    click.echo(f"damaged: {done.damaged} of {done.lines} records; the old file is {done.aside}")
    shown = ", ".join(map(str, done.lost[:10])) + (", …" if len(done.lost) > 10 else "")
    again = f"; the next search measures trial {shown} again" if done.lost else ""
    click.echo(f"{study} has {done.trials} trials{again}")
