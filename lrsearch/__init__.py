"""Search for the best learning-rate schedule of a training run, and test whether it is better.

Names are loaded when they are first used, so importing lrsearch does not load torch, Optuna or
MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lrsearch import export
    from lrsearch.api import compare, load, tune
    from lrsearch.comparison import Comparison
    from lrsearch.objectives.command import Command
    from lrsearch.objectives.function import objective
    from lrsearch.outcome import Outcome, Trial
    from lrsearch.plan import Plan
    from lrsearch.ranges import Choices, Range
    from lrsearch.report.files import plot
    from lrsearch.result import Result
    from lrsearch.run import Run
    from lrsearch.schedule import Budget, Schedule
    from lrsearch.space import Space
    from lrsearch.tasks.task import TorchTask
    from lrsearch.workers.workforce import Workforce

__all__ = [
    "Budget",
    "Choices",
    "Command",
    "Comparison",
    "Outcome",
    "Plan",
    "Range",
    "Result",
    "Run",
    "Schedule",
    "Space",
    "TorchTask",
    "Trial",
    "Workforce",
    "__version__",
    "compare",
    "export",
    "load",
    "objective",
    "plot",
    "tune",
]

__version__ = "0.1.0.dev0"

_HOMES = {
    "Budget": "lrsearch.schedule",
    "Choices": "lrsearch.ranges",
    "Command": "lrsearch.objectives.command",
    "Comparison": "lrsearch.comparison",
    "Outcome": "lrsearch.outcome",
    "Plan": "lrsearch.plan",
    "Range": "lrsearch.ranges",
    "Result": "lrsearch.result",
    "Run": "lrsearch.run",
    "Schedule": "lrsearch.schedule",
    "Space": "lrsearch.space",
    "TorchTask": "lrsearch.tasks.task",
    "Trial": "lrsearch.outcome",
    "Workforce": "lrsearch.workers.workforce",
    "compare": "lrsearch.api",
    "load": "lrsearch.api",
    "objective": "lrsearch.objectives.function",
    "plot": "lrsearch.report.files",
    "tune": "lrsearch.api",
}


def __getattr__(name: str) -> Any:
    if name == "export":
        return importlib.import_module("lrsearch.export")
    if name not in _HOMES:
        raise AttributeError(f"module 'lrsearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
