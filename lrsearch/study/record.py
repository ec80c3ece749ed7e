"""What makes two searches the same study, and what a tracker is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrsearch.bounds import Bound
from lrsearch.contract import Setup, StudyFacts
from lrsearch.space import Space
from lrsearch.study.request import Search
from lrsearch.study.shape import STUDY, conform

__all__ = ["SCHEMA", "StudyRecord", "study_facts", "study_record"]

#: Raised when records of older versions cannot be continued.
SCHEMA = 5
#: What is compared as a whole; options and space are compared entry by entry.
COMPARED = (
    *("objective", "version", "direction", "steps", "batch", "seeds", "seed", "pruner"),
    *("unit", "momentum"),
)


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What makes two searches the same study, and what its readers need.

    Attributes:
        objective, options, version: what answers.
        space: every entry resolved.
        steps, batch, seeds, seed: the budget and the seeds.
        pruner: what ends a run early, on which values hang.
        unit, momentum: of the objective, for readers.
        direction: `minimize`; there is no other.
    """

    objective: str
    options: Mapping[str, Any]
    version: int
    space: Space
    steps: int
    batch: int
    seeds: int
    seed: int
    pruner: str
    unit: str
    momentum: float
    direction: str = "minimize"

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["options"] = dict(self.options)
        record["space"] = {"name": self.space.name, "entries": self.space.to_dict()}
        return {"schema": SCHEMA, **record}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> StudyRecord:
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is none.
        """
        conform(record, STUDY, "study")
        fields = {k: v for k, v in record.items() if k not in ("schema", "name", "id")}
        return cls(**{**fields, "space": Space(**record["space"])})

    def differences(self, other: StudyRecord) -> list[str]:
        """What tells two records apart, as `steps 200 there, 300 here`."""
        mine, theirs = self.to_dict(), other.to_dict()
        found = [
            f"{name} {mine[name]} there, {theirs[name]} here"
            for name in COMPARED
            if mine[name] != theirs[name]
        ]
        for group, a, b in (
            ("option", mine["options"], theirs["options"]),
            ("space", mine["space"]["entries"], theirs["space"]["entries"]),
        ):
            for name in {**a, **b}:
                if a.get(name) != b.get(name):
                    there, here = a.get(name, "nothing"), b.get(name, "nothing")
                    found.append(f"{group} {name} {there} there, {here} here")
        return found


def study_record(search: Search, setup: Setup) -> StudyRecord:
    """What makes a search the study that it is.

    Raises:
        RequestError: a name holds what no terminal should be given.
    """
    for name in ("name", "unit"):
        Bound(kind="text").check(f"the objective's {name}", getattr(setup, name))
    return StudyRecord(
        objective=setup.name,
        options=setup.options,
        version=setup.version,
        space=search.space,
        steps=search.steps,
        batch=search.batch,
        seeds=search.seeds,
        seed=search.seed,
        pruner=search.pruner,
        unit=setup.unit,
        momentum=setup.momentum,
    )


def study_facts(
    record: StudyRecord,
    *,
    study: str,
    identity: str,
    storage: str,
    spool: Path,
    trials: int,
    slots: int,
) -> StudyFacts:
    """What a tracker is told of a study, as far as its records say it.

    Args:
        record: of the study.
        study: its name.
        identity: tells it from an earlier study of the same name.
        storage: where it lives, without a password.
        spool: the file of what the tracker was not told.
        trials: how many are asked for in total.
        slots: runs in flight.
    """
    return StudyFacts(
        study=study,
        identity=identity,
        objective=record.objective,
        options=record.options,
        version=record.version,
        unit=record.unit,
        momentum=record.momentum,
        space=record.space,
        steps=record.steps,
        batch=record.batch,
        seeds=record.seeds,
        seed=record.seed,
        trials=trials,
        slots=slots,
        pruner=record.pruner,
        storage=storage,
        spool=spool,
    )
