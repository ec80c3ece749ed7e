"""`lrsearch compare`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from typing import Any

import click

from lrsearch.answer import answer_of
from lrsearch.cli.describe import describe_comparison, describe_offer
from lrsearch.cli.options import WORKFORCE, options, read_workforce, settings_of
from lrsearch.cli.output import echo
from lrsearch.cli.progress import Progress
from lrsearch.cli.takes_command import COMMAND, TakesCommand, read_command
from lrsearch.search.comparison_spec import ComparisonSpec


@click.command(cls=TakesCommand)
@click.argument("study")
@options("objective", *COMMAND)
@settings_of(ComparisonSpec, prefix="COMPARE_")
@options("device", *WORKFORCE)
@options("storage", "tracking_uri", "dry_run", "json", "quiet")
def compare(
    study: str,
    storage: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Compare the best schedules of STUDY with baselines, on fresh seeds.

    Every schedule, searched or baseline, gets its peak tuned with the same selection seeds. The
    reported values come from other seeds. Runs are saved: the same command again prints the saved
    answer, and twice the --seeds trains only the new seeds.

    If the study trained your own code, give it as in the search: with --objective, or as the
    COMMAND after -- with its options.

    \b
    Examples:
      lrsearch compare digits-default
      lrsearch compare digits-default --runs 24 --dry-run
      lrsearch compare digits-default --top 10 --seeds 28 --against cosine --against today.json
      lrsearch compare small_gpt-cosine --objective train.py:small_gpt
      lrsearch compare train-default --value 'val loss {value}' -- \\
        python train.py --lr-file={lr_csv} --seed={seed}
    """
    from lrsearch import api

    asked["workers"] = read_workforce(asked)
    command = read_command(asked, other=asked["objective"] is not None)
    asked["objective"] = asked["objective"] if command is None else command
    if dry_run:
        own = ("objective", "top", "seeds", "runs", "against")
        offer = api.preview(study, storage=storage, **{name: asked[name] for name in own})
        echo(describe_offer(offer), nl=False)
        return
    with Progress(quiet=quiet) as progress, contextlib.redirect_stdout(sys.stderr):
        found = api.compare(study, storage=storage, callback=progress, **asked)
        result = api.load(study, storage=storage)
    if as_json:
        echo(json.dumps(result.to_dict()))
    else:
        answer = answer_of(dataclasses.replace(result, comparison=found))
        echo(describe_comparison(answer), nl=False)
