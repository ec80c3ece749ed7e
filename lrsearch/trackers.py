"""Which tracker a study has, and what that is given of the study's files and models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lrsearch.contract import KeepsModel, Objective, Tracker
from lrsearch.errors import RequestError
from lrsearch.export.table import to_csv
from lrsearch.export.words import to_json
from lrsearch.result import Result
from lrsearch.seeding import run_seed
from lrsearch.study.request import Search
from lrsearch.tracking.nothing import NoTracker

__all__ = ["make_tracker", "model_keeper", "tracked_uri"]


def tracked_uri(result: Result, asked: str | None) -> str | None:
    """Where a study that exists is tracked, as far as its records may say."""
    if asked is not None:
        return asked
    if result.tracking_uri is None:
        return "none"
    return None if ":***@" in result.tracking_uri else result.tracking_uri


def model_keeper(
    search: Search, answers: Objective, name: str
) -> Callable[[Result, Path], dict[str, str]]:
    """What writes the winning model of a search.

    Raises:
        RequestError: its models cannot be kept.
    """
    if not isinstance(answers, KeepsModel):
        raise RequestError(
            f"objective {answers.setup.name} has no model to log: it is no task; leave "
            "log_model out"
        )

    def keep(result: Result, folder: Path) -> dict[str, str]:
        plan = result.chosen.plan(search.steps, search.batch, momentum=answers.setup.momentum)
        kept = answers.save_model(plan, run_seed(search.seed, 0), folder)
        return {**kept, "name": name} if kept else {}

    return keep


def make_tracker(
    uri: str | None, keep: Callable[[Result, Path], dict[str, str]] | None = None
) -> Tracker:
    """A tracker for an MLflow; None is MLflow's own default, `none` is no tracking."""
    if uri == "none":
        return NoTracker()

    from lrsearch.tracking.mlflow_tracker import MlflowTracker

    def draw(result: Result, folder: Path) -> list[Path]:
        from lrsearch.report.files import write_report, write_study

        page, recipe, plan = (folder / n for n in ("report.html", "schedule.json", "schedule.csv"))
        write_report(result, page)
        recipe.write_text(to_json(result.chosen), encoding="utf-8")
        text = to_csv(result.chosen, result.steps, result.batch, momentum=result.momentum)
        plan.write_text(text, encoding="utf-8")
        return [page, recipe, plan, *write_study(result, folder)]

    return MlflowTracker(uri, draw, keep)
