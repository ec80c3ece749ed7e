"""`Schedule`, a schedule independent of the length of a run, and `Budget`, which fixes the length.

A Schedule holds dimensionless numbers: fractions of the run and of the peak. A budget turns it
into a Plan, the learning rate of every step. So a schedule that was found at 2,000 steps can be
used for 20,000 steps without a change. The fields act in the order of their declaration. Each has
a neutral value that changes nothing, bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrsearch import coupling as laws
from lrsearch.bounds import COUNT, STEPS, Bound
from lrsearch.curves import (
    DECAYS,
    Curve,
    cycle_bounds,
    restarts,
    round_half_up,
    smooth,
    warmup_ramp,
)
from lrsearch.errors import RequestError, closest, given
from lrsearch.plan import Plan

MOMENTUM_RULES = ("constant", "critical_nesterov", "critical_heavy_ball", "opposed")


def _field(default: Any, **bound: Any) -> Any:
    return field(default=default, metadata={"bound": Bound(**bound)})


@dataclass(frozen=True, kw_only=True, repr=False)
class Schedule:
    """A learning-rate schedule as dimensionless numbers, for runs of any length.

    `eval(repr(s)) == s == Schedule.from_dict(s.to_dict())`.

    Attributes:
        peak: learning rate after the warmup, before smoothing and coupling.
        warmup: fraction of the run with linear warmup: for t < W = round(warmup·T) the rate is
            peak·(t+1)/W.
        hold: fraction of the rest of the run, after the warmup, that stays at the peak.
        decay: shape of the decay phase after warmup and hold, a name in `lrsearch.curves.DECAYS`.
        power: exponent of the polynomial, cosine, power_law and root decays.
        rate: decay constant of the exponential and power_law decays, per decay phase.
        bend: rex only; ½ is REX, 1 is linear.
        drops, gamma: step only; the number of drops, and the factor of each.
        knot_x1, knot_y1, knot_x2, knot_y2: spline only; see `lrsearch.curves.spline_knots`.
        floor: fraction of the peak that the decay approaches as t → T.
        cycles, cycle_growth, cycle_damping: restarts of the decay phase. Each cycle is
            cycle_growth times as long as the previous one and starts at cycle_damping times its
            height above the floor.
        smoothing: width of a centred moving average over the whole curve, as a fraction of the
            run.
        batch_growth, batch_ramp: final batch size / first batch size, and the form of the growth.
        coupling: exponent of the factor (B_t/B_0)^coupling on the rate.
        momentum: momentum, or the largest momentum of the other rules; None means that of the
            objective.
        momentum_rule: `constant`; `critical_nesterov` or `critical_heavy_ball`, the momentum that
            critically damps `curvature` at the current rate, at most `momentum`; or `opposed`,
            from `momentum` down to `momentum_low` as the uncoupled rate rises to its maximum.
        curvature: λ of the critical rules, in loss per parameter squared.
        momentum_low: momentum at the largest rate under `opposed`.

    Raises:
        RequestError: the value of a field is not allowed.

    Example:
        >>> schedule = lrsearch.Schedule(peak=0.1, warmup=0.05, decay="cosine")
        >>> schedule.replace(floor=0.1)
        Schedule(peak=0.1, warmup=0.05, floor=0.1)
        >>> len(schedule.plan(steps=1000))
        1000
    """

    peak: float = field(metadata={"bound": Bound(low=0.0, high=1e30, open_low=True)})
    warmup: float = _field(0.0, low=0, high=1, open_high=True)
    hold: float = _field(0.0, low=0, high=1)
    decay: str = _field("cosine", kind="name", names=tuple(DECAYS))
    power: float = _field(1.0, low=0, open_low=True)
    rate: float = _field(3.0, low=0)
    bend: float = _field(0.5, low=0, open_low=True)
    drops: int = _field(2, kind="int", low=1, high=1_000_000)
    gamma: float = _field(0.1, low=0, high=1, open_low=True, open_high=True)
    knot_x1: float = _field(0.4, low=0, high=1)
    knot_y1: float = _field(0.7, low=0, high=1, open_low=True)
    knot_x2: float = _field(0.5, low=0, high=1)
    knot_y2: float = _field(0.5, low=0, high=1, open_low=True)
    floor: float = _field(0.0, low=0, high=1, open_high=True)
    cycles: int = _field(1, kind="int", low=1)
    cycle_growth: float = _field(1.0, low=1)
    cycle_damping: float = _field(1.0, low=0, high=1, open_low=True)
    smoothing: float = _field(0.0, low=0, high=1, open_high=True)
    batch_growth: float = _field(1.0, low=1)
    batch_ramp: str = _field("exponential", kind="name", names=laws.RAMPS)
    coupling: float = _field(0.0, low=0, high=1)
    momentum: float | None = _field(None, low=0, high=1, open_high=True, optional=True)
    momentum_rule: str = _field("constant", kind="name", names=MOMENTUM_RULES)
    curvature: float | None = _field(None, low=0, open_low=True, optional=True)
    momentum_low: float = _field(0.85, low=0, high=1, open_high=True)

    def __post_init__(self) -> None:
        for name, bound in FIELDS.items():
            value = getattr(self, name)
            if value is not DEFAULTS[name]:
                object.__setattr__(self, name, bound.check(name, value))
        if self.momentum_rule.startswith("critical") and self.curvature is None:
            raise RequestError(
                f"momentum_rule {self.momentum_rule} needs curvature; give a number above 0"
            )

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in self.to_dict(defaults=False).items())
        return f"Schedule({shown})"

    def to_plain(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, for storage."""
        return self.to_dict(defaults=False)

    @classmethod
    def from_plain(cls, values: Any) -> Schedule:
        """Return the schedule of which these are the `to_plain` values.

        Raises:
            RequestError: a key is unknown, `peak` is missing, or a value is not allowed.
        """
        return cls.from_dict(values)

    def to_dict(self, *, defaults: bool = True) -> dict[str, Any]:
        """Return the fields as a flat dictionary, for JSON files and results.

        Args:
            defaults: False to leave out fields that have their default value.
        """
        values = [(f, getattr(self, f.name)) for f in dataclasses.fields(self)]
        return {f.name: value for f, value in values if defaults or value != f.default}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schedule:
        """Return the schedule with these fields, the inverse of `to_dict`.

        Args:
            values: values by field; missing fields have their default.

        Raises:
            RequestError: a key is unknown, `peak` is missing, or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise RequestError(
                f"the schedule is {given(values)}; give a mapping from fields to values"
            )
        for name in values:
            if name not in FIELDS:
                raise RequestError(f"a Schedule has no field {name!r}{closest(str(name), FIELDS)}")
        if "peak" not in values:
            raise RequestError("the schedule has no peak; give peak, a learning rate above 0")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Return the schedule of a JSON text, such as `json.dumps(schedule.to_dict())`.

        Raises:
            RequestError: the text is not JSON, a key occurs twice, or `from_dict` rejects the
                values.
        """
        try:
            values = json.loads(text, object_pairs_hook=_unique)
        except (ValueError, RecursionError, TypeError) as error:
            raise RequestError(
                f"not a JSON schedule: {error}; write one with `lrsearch export`"
            ) from error
        return cls.from_dict(values)

    @classmethod
    def load(cls, path: Path) -> Schedule:
        """Return the schedule of a JSON file.

        Raises:
            RequestError: the file cannot be read, or `from_json` rejects the text.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise RequestError(f"cannot read {path}: {reason}; check the path") from error
        try:
            return cls.from_json(text)
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from error

    def replace(self, **changes: Any) -> Schedule:
        """Return a copy with some fields changed."""
        return Schedule.from_dict({**self.to_dict(), **changes})

    def at_batch(self, batch: int, tuned: int, coupling: float | None = None) -> Schedule:
        """Return the schedule for another batch size: the peak times (batch/tuned)^coupling.

        Coupling 1 keeps the noise scale lr/B (the linear scaling rule, Goyal et al. 2017), ½ is
        the convention for adaptive optimizers (Malladi et al. 2022), 0 changes nothing. These are
        rules of thumb, which hold below the critical batch size.

        Args:
            batch: the batch size for which the schedule will be used.
            tuned: the batch size for which the schedule was tuned.
            coupling: exponent in [0, 1]; None means the schedule's own coupling.

        Raises:
            RequestError: an argument is out of range.
        """
        ratio = COUNT.check("batch", batch) / COUNT.check("tuned", tuned)
        power = FIELDS["coupling"].check(
            "coupling", self.coupling if coupling is None else coupling
        )
        return self.replace(peak=self.peak * ratio**power)

    def with_momentum(self, momentum: float) -> Schedule:
        """Return the schedule with this momentum if its own is None.

        A study calls this once per schedule, with the momentum of the objective.

        Args:
            momentum: the momentum; 0 leaves the schedule unchanged.
        """
        return self.replace(momentum=momentum) if self.momentum is None and momentum else self

    def plan(self, steps: int, batch: int = 1) -> Plan:
        """Compute the learning rate, batch size and momentum of every step of a run.

        Args:
            steps: the budget, in steps at the first batch size.
            batch: B_0, the first batch size, in samples.

        Returns:
            a Plan of T steps over exactly steps·batch samples. T is `steps` unless the batch
            grows. If `momentum` is None, the momentum is 0.

        Raises:
            RequestError: the budget is too short for the phases of the schedule.
        """
        steps = STEPS.check("steps", steps)
        batch = COUNT.check("batch", batch)
        batches = laws.batch_plan(steps, batch, self.batch_growth, self.batch_ramp)
        uncoupled = self.peak * smooth(self._unit_curve(len(batches)), self.smoothing)
        lr = uncoupled * laws.coupled_scale(batches, batch, self.coupling)
        mu, overdamped = self._momenta(lr, uncoupled, self.momentum or 0.0)
        return Plan(lr=lr, batch=batches, momentum=mu, overdamped=overdamped)

    def phases(self, updates: int) -> tuple[int, int, int]:
        """Return the numbers of steps of the warmup, the hold and the decay phase.

        Args:
            updates: number of steps of the run.
        """
        warm = round_half_up(self.warmup * updates)
        held = round_half_up(self.hold * (updates - warm))
        return warm, held, updates - warm - held

    def _unit_curve(self, updates: int) -> Curve:
        """Return warmup, hold and decay as fractions of the peak, shape `[updates]`."""
        warm, held, rest = self.phases(updates)
        if rest < 1 and (self.decay != "constant" or warm >= updates):
            raise RequestError(
                f"warmup {self.warmup:g} and hold {self.hold:g} leave no decay phase in {updates} "
                "steps; lower them or give more steps"
            )
        fits = self.cycles <= max(rest, 1)
        bounds = cycle_bounds(rest, self.cycles, self.cycle_growth) if fits else [0, 0]
        if rest and any(begin == end for begin, end in itertools.pairwise(bounds)):
            raise RequestError(
                f"{self.cycles} cycles with growth {self.cycle_growth:g} do not fit a decay "
                f"phase of {rest} steps; lower cycles or cycle_growth, or give more steps"
            )
        numbers = {name: getattr(self, name) for _, used in DECAYS.values() for name in used}
        unit = restarts(bounds, DECAYS[self.decay][0], numbers, self.cycle_damping)
        phase = self.floor + (1.0 - self.floor) * unit
        return np.concatenate([warmup_ramp(warm), np.ones(held), phase])

    def _momenta(self, lr: Curve, uncoupled: Curve, top: float) -> tuple[Curve, int]:
        """Return the momentum of every step, and the number of steps with ηλ ≥ 1."""
        if self.momentum_rule == "opposed":
            if self.momentum_low > top:
                raise RequestError(
                    f"momentum_low {self.momentum_low:g} is above momentum {top:g}; with "
                    "momentum_rule opposed, momentum must be at least momentum_low"
                )
            return laws.opposed_momentum(uncoupled, top, self.momentum_low), 0
        if self.curvature is not None and self.momentum_rule != "constant":
            nesterov = self.momentum_rule == "critical_nesterov"
            return laws.critical_momentum(lr, self.curvature, top, nesterov=nesterov)
        return np.full(len(lr), top), 0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a run: `steps·batch` samples.

    Attributes:
        steps: number of steps at the first batch size.
        batch: the first batch size, in samples.

    Raises:
        RequestError: a number is out of range.

    Example:
        >>> lrsearch.Budget(steps=1000, batch=64).plan(lrsearch.Schedule(peak=0.1)).samples
        64000
    """

    steps: int
    batch: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", STEPS.check("steps", self.steps))
        object.__setattr__(self, "batch", COUNT.check("batch", self.batch))

    def plan(self, schedule: Schedule) -> Plan:
        """Compute the plan of a schedule for this budget.

        Raises:
            RequestError: the budget is too short for the phases of the schedule.
        """
        return schedule.plan(self.steps, self.batch)


#: Allowed values of every field of a Schedule, in the order in which the fields act.
FIELDS: dict[str, Bound] = {f.name: f.metadata["bound"] for f in dataclasses.fields(Schedule)}
#: Default of every field; `dataclasses.MISSING` for the peak.
DEFAULTS: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(Schedule)}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dictionary; reject duplicate keys, which `json` overwrites."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"the JSON schedule has the key {twice!r} twice; keep one")
    return values
