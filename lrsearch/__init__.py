"""Finds the best learning-rate schedule for a training run and says whether it is better."""

from lrsearch.schedule import Plan, Schedule

__all__ = ["Plan", "Schedule", "__version__"]

__version__ = "0.1.0.dev0"
