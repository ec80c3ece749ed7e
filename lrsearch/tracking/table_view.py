"""The view of MLflow's table in which a study is read."""

from __future__ import annotations

from typing import Any

from lrsearch.tracking.tracker import StudyFacts

#: Columns of numbers beside the space's fields, where the runs have them.
FIGURES = ("value", "accuracy", "largest_stability_ratio", "worst_rise", "seconds")
#: MLflow's table is slow with more.
MOST = 14


def study_view(facts: StudyFacts) -> dict[str, Any]:
    """Filter, order and columns, as MLflow's page keeps a shared view.

    It is JSON below the experiment's tag `mlflow.sharedViewState.KEY`, which the page reads where
    its address says `viewStateShareKey=KEY` (MLflow 3; another version may ignore it).
    """
    fields = ["peak", *(name for name in facts.spec.space.free if name != "peak")]
    columns = ["tags.`lrsearch.kind`", "tags.`lrsearch.state`"]
    columns += [f"metrics.`{name}`" for name in FIGURES]
    columns += [f"params.`{name}`" for name in fields]
    return {
        "searchFilter": f"tags.`lrsearch.id` = '{facts.spec.id}'",
        "orderByKey": "metrics.`value`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns[:MOST],
    }
