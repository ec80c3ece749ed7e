"""`StudySpec`: what a study is, with nothing left open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrsearch.bounds import Bound
from lrsearch.codec import Line
from lrsearch.contract import Setup
from lrsearch.divergence import DIVERGENCE_VERSION
from lrsearch.errors import RequestError
from lrsearch.ranges import Value
from lrsearch.sampling.registry import SAMPLERS
from lrsearch.schedule import Budget
from lrsearch.study.location import Location
from lrsearch.study.settings import Settings

#: The form of what is stored. Raised only when stored studies can no longer be read.
SCHEMA = 5

_IDENTITY = {"identity": True}
_TEXT = Bound(kind="text")


@dataclass(frozen=True, kw_only=True)
class StudySpec(Settings):
    """A study's settings with nothing left open, and the objective that they are for.

    What is stored of it is what makes the study: the settings that are part of its identity, and
    the objective's name, options and version. The rest may change from call to call.

    Attributes:
        name: the study's.
        id: tells it from an earlier study of the same name.
        schema: the form in which it is stored.
        objective, options, version, unit, momentum: the objective's, as in `Setup`.
        direction: `minimize`; there is no other.
        versions: of the rules that decide values and schedules, by what they are of; a study that
            names none was written when all of them were 1.
        first: the point of the space nearest to the default schedule.

    Raises:
        RequestError: a value is out of range, or a name holds what no terminal should be given.
    """

    name: Line
    id: Line = ""
    schema: int = SCHEMA
    objective: Line = field(metadata=_IDENTITY)
    options: Mapping[str, Any]
    version: int = field(metadata=_IDENTITY)
    direction: Line = field(default="minimize", metadata=_IDENTITY)
    unit: Line = field(metadata=_IDENTITY)
    momentum: float = field(metadata=_IDENTITY)
    versions: Mapping[str, int] = field(default_factory=dict)
    first: Mapping[str, Value] = field(default_factory=dict, metadata={"stored": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("objective", "unit"):
            _TEXT.check(f"the objective's {name}", getattr(self, name))
        filled = tuple(schedule.with_momentum(self.momentum) for schedule in self.queue)
        object.__setattr__(self, "enqueue", filled)
        object.__setattr__(self, "location", Location.of(self.name, self.storage))

    @property
    def budget(self) -> Budget:
        """The budget of every run."""
        return Budget(steps=self.steps or 0, batch=self.batch or 0)

    def check_versions(self, sampler: str) -> None:
        """Refuse to continue a study whose rules this version no longer has.

        Args:
            sampler: that is to choose further trials.

        Raises:
            RequestError: a rule has changed; the study can still be read, exported and compared.
        """
        now = current_versions()
        for name in ("divergence", f"sampler {sampler}"):
            then = self.versions.get(name, 1)
            if then != now[name]:
                raise RequestError(
                    f"study {self.name} was searched with version {then} of its {name} rule and "
                    f"this lrsearch has version {now[name]}; show, export and compare it as it "
                    "is, or search under another --study name"
                )

    def differences(self, other: StudySpec) -> list[str]:
        """Return what makes two studies different, as `steps 200 there, 300 here`."""
        found = []
        for each in dataclasses.fields(self):
            about = each.metadata.get("setting")
            if each.metadata.get("identity") or (about is not None and about.identity):
                there, here = getattr(self, each.name), getattr(other, each.name)
                if there != here:
                    found.append(f"{each.name} {there} there, {here} here")
        for group, a, b in (
            ("option", self.options, other.options),
            ("space", self.space.to_dict(), other.space.to_dict()),
        ):
            for name in {**a, **b}:
                if a.get(name) != b.get(name):
                    there, here = a.get(name, "nothing"), b.get(name, "nothing")
                    found.append(f"{group} {name} {there} there, {here} here")
        return found


def current_versions() -> dict[str, int]:
    """Return the versions of the rules that decide values and schedules, by what they are of."""
    samplers = {f"sampler {name}": entry.version for name, entry in SAMPLERS.items()}
    return {"divergence": DIVERGENCE_VERSION, **samplers}


def resolve(settings: Settings, setup: Setup) -> StudySpec:
    """Fill what was left open from the objective.

    Raises:
        RequestError: the space reaches too far for the budget, no peak is known, or several seeds
            are asked of an objective that has none.
    """
    _check_fit(settings, setup)
    space = settings.space.with_defaults(setup.entries)
    if "peak" not in space.entries:
        raise RequestError(
            f"neither space {space.name} nor objective {setup.name} has a range of peak; set "
            "one with --set peak=LOW..HIGH"
        )
    budget = Budget(steps=settings.steps or setup.steps, batch=settings.batch or setup.batch)
    largest = space.check_budget(budget)
    if setup.samples is not None and largest > setup.samples:
        raise RequestError(
            f"a batch of {largest} exceeds the {setup.samples} samples of objective "
            f"{setup.name}; lower batch or batch_growth"
        )
    usual = {} if setup.usual_peak is None else {"peak": setup.usual_peak}
    asked = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.init}
    asked |= {"space": space, "steps": budget.steps, "batch": budget.batch}
    spec = StudySpec(
        **asked,
        name=f"{setup.name}-{space.name}" if settings.study is None else settings.study,
        objective=setup.name,
        options=setup.options,
        version=setup.version,
        unit=setup.unit,
        momentum=setup.momentum,
        versions=current_versions(),
        first=space.default_point(usual),
    )
    for schedule in spec.queue:  # one that has no plan is refused before anything starts
        budget.plan(schedule)
    return spec


def _check_fit(settings: Settings, setup: Setup) -> None:
    """Refuse settings of which an objective can make no use."""
    if setup.exact and settings.seeds > 1:
        raise RequestError(
            f"objective {setup.name} is exact: every seed gives the same value; leave seeds at 1"
        )
    if setup.slots is not None and settings.slots is not None:
        raise RequestError(
            f"objective {setup.name} has no slots to set: it "
            + ("answers exactly" if setup.exact else "trains one run at a time")
            + "; leave slots out"
        )
    if setup.exact and settings.trial_timeout is not None:
        raise RequestError(
            f"objective {setup.name} answers exactly and at once; leave trial_timeout out"
        )
