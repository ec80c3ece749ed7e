"""`StudySpec`: the complete specification of a study."""

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
from lrsearch.origin import COMMAND_LINE
from lrsearch.origin import differences as code_differences
from lrsearch.ranges import Value
from lrsearch.sampling.registry import SAMPLERS
from lrsearch.schedule import DEFAULTS, FIELDS, Budget, Schedule
from lrsearch.study.location import Location
from lrsearch.study.settings import Settings

#: Version of the stored format. Increased only when earlier studies can no longer be read.
SCHEMA = 5

#: Factor by which the peak may be below or above that of the current schedule, if nothing else
#: says where to search. A convention.
NEAR = 10.0

_IDENTITY = {"identity": True}
_TEXT = Bound(kind="text")


@dataclass(frozen=True, kw_only=True)
class StudySpec(Settings):
    """The settings of a study without missing values, and the objective that they are for.

    The stored fields identify the study: the settings that are part of its identity, and the
    objective's name, options and version. The other settings may change from call to call.

    Attributes:
        name: name of the study.
        id: unique id, which distinguishes the study from an earlier one of the same name.
        schema: version of the stored format.
        objective, options, version, unit, momentum: those of the objective, as in `Setup`.
        direction: always `minimize`.
        versions: version of each rule that decides values or schedules, by name of the rule. A
            study without them was written when all versions were 1.
        origin: the file and the values of the user's code, as in `Setup`; empty in a study that
            was written before they were stored.
        files: digests of the user's files, as in `Setup`.
        first: the point of the space nearest to the default schedule.

    Raises:
        RequestError: a value is out of range, or a name contains control characters.
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
    origin: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[Line, Line] = field(default_factory=dict)
    first: Mapping[str, Value] = field(default_factory=dict, metadata={"stored": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("objective", "unit"):
            _TEXT.check(f"the objective's {name}", getattr(self, name))
        filled = tuple(schedule.with_momentum(self.momentum) for schedule in self.queue)
        own = self.current is not None
        object.__setattr__(self, "current", filled[0] if own else None)
        object.__setattr__(self, "enqueue", filled[own:])
        object.__setattr__(self, "location", Location.of(self.name, self.storage))

    @property
    def budget(self) -> Budget:
        """Budget of every run."""
        return Budget(steps=self.steps or 0, batch=self.batch or 0)

    def check_versions(self, sampler: str) -> None:
        """Refuse to continue a study if its rules have changed in this version of lrsearch.

        Args:
            sampler: name of the sampler for further trials.

        Raises:
            RequestError: a rule has changed. The study can still be read, exported and compared.
        """
        now = current_versions()
        for name in ("divergence", f"sampler {sampler}"):
            then = self.versions.get(name, 1)
            if then != now[name]:
                raise RequestError(
                    f"study {self.name} was searched with version {then} of the {name} rule, but "
                    f"this lrsearch has version {now[name]}; you can still show, export and "
                    "compare the study; to search, choose another `study=`"
                )

    def differences(self, other: StudySpec) -> list[str]:
        """Return how another specification differs, such as `steps was 200, is now 300`."""
        found = []
        for each in dataclasses.fields(self):
            about = each.metadata.get("setting")
            if each.metadata.get("identity") or (about is not None and about.identity):
                old, new = getattr(self, each.name), getattr(other, each.name)
                if old != new:
                    found.append(f"{each.name} was {old}, is now {new}")
        for group, a, b in (
            ("option", self.options, other.options),
            ("space", self.space.to_dict(), other.space.to_dict()),
        ):
            for name in {**a, **b}:
                if a.get(name) != b.get(name):
                    old, new = a.get(name, "not set"), b.get(name, "not set")
                    found.append(f"{group} {name} was {old}, is now {new}")
        return found + code_differences(self.origin, other.origin)

    def edited(self, now: StudySpec) -> list[str]:
        """Return the user's files that differ from those of this study, by path."""
        return [name for name, digest in self.files.items() if now.files.get(name) != digest]

    @property
    def command(self) -> str:
        """The command line of the study, with its placeholders; empty for other objectives."""
        return str(self.origin.get(COMMAND_LINE, ""))

    @property
    def not_compared(self) -> list[str]:
        """Names of the values of the user's code that cannot be compared."""
        return [name for name, value in self.origin.items() if value is None]


def current_versions() -> dict[str, int]:
    """Return the version of each rule that decides values or schedules, by name of the rule."""
    samplers = {f"sampler {name}": entry.version for name, entry in SAMPLERS.items()}
    return {"divergence": DIVERGENCE_VERSION, **samplers}


def resolve(settings: Settings, setup: Setup) -> StudySpec:
    """Return the specification of a study, with missing settings taken from the objective.

    Raises:
        RequestError: the space does not fit the budget, no range of `peak` and no schedule that is
            enqueued is known, or a setting does not apply to the objective.
    """
    _check_fit(settings, setup)
    space = settings.space.with_defaults(setup.entries)
    current = None
    if "peak" not in space.entries:
        if not settings.queue:
            raise RequestError(
                f"neither space {space.name} nor objective {setup.name} has a range of peak; set "
                'one with `settings={"peak": {"low": LOW, "high": HIGH}}`, or give your current '
                "schedule with `current=`"
            )
        current = settings.queue[0].peak
        around = {"low": current / NEAR, "high": current * NEAR, "log": True}
        space = space.with_entries({"peak": around})
    if setup.reached is not None and (lost := sorted(space.free.keys() - set(setup.reached))):
        fixed = [f'`settings={{"{name}": {DEFAULTS[name]}}}`' for name in lost]
        raise RequestError(
            f"space {space.name} varies {' and '.join(lost)}, which objective {setup.name} does "
            f"not get; give it a placeholder such as {{{lost[0]}}}, or fix the field with "
            f"{' '.join(fixed)}"
        )
    budget = Budget(steps=settings.steps or setup.steps, batch=settings.batch or setup.batch)
    largest = space.check_budget(budget)
    if setup.samples is not None and largest > setup.samples:
        raise RequestError(
            f"a batch of {largest} exceeds the {setup.samples} samples of objective "
            f"{setup.name}; reduce `batch=` or the field batch_growth"
        )
    usual = setup.usual_peak if current is None else current
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
        origin=setup.origin,
        files=setup.files,
        first=space.default_point({} if usual is None else {"peak": usual}),
    )
    for schedule in spec.queue:  # raises an error for an invalid plan before anything starts
        budget.plan(schedule)
        _check_reached(schedule, space.schedule(spec.first), setup)
    return spec


def _check_reached(schedule: Schedule, own: Schedule, setup: Setup) -> None:
    """Refuse a schedule to try first whose shape does not reach the objective.

    Args:
        schedule: the schedule.
        own: a schedule of the space.
        setup: the objective.
    """
    if setup.reached is None:
        return
    for name in FIELDS:
        given, ours = getattr(schedule, name), getattr(own.with_momentum(setup.momentum), name)
        if name not in setup.reached and given != ours:
            raise RequestError(
                f"a schedule to try first has {name} {given}, but objective {setup.name} does not "
                f"get {name}, and the space has {ours}; write {name} {ours} into its file, or "
                "choose another `space=`"
            )


def _check_fit(settings: Settings, setup: Setup) -> None:
    """Refuse settings that do not apply to an objective."""
    if setup.exact and settings.seeds > 1:
        raise RequestError(
            f"objective {setup.name} has the same value for every seed; use `seeds=1`"
        )
    if setup.slots is not None and settings.slots is not None:
        raise RequestError(
            f"objective {setup.name} has no slots: it "
            + ("computes values directly" if setup.exact else "trains one run at a time")
            + "; leave out `slots=`"
        )
    if setup.exact and settings.trial_timeout is not None:
        raise RequestError(
            f"objective {setup.name} computes values directly; leave out `trial_timeout=`"
        )
