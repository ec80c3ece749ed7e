"""Arguments of transformers' own scheduler for the shapes that it has."""

from __future__ import annotations

from typing import Any

from lrsearch.schedule import Schedule

#: Fields that no shape of transformers has; they must have neutral values.
FOREIGN = ("smoothing", "batch_growth", "cycle_growth", "cycle_damping")


def transformers_arguments(schedule: Schedule, steps: int) -> dict[str, Any] | None:
    """Return arguments of `transformers.get_scheduler`, or None if it lacks the shape.

    The optimizer's own learning rate must be `schedule.peak`. The warmup of transformers is one
    step later than lrsearch's and starts at rate 0 (at the floor with `warmup_stable_decay`): with
    a warmup of W steps, update t < W has the rate peak·t/W there and peak·(t+1)/W here. After the
    warmup, the rates are equal.

        optimizer = torch.optim.AdamW(model.parameters(), lr=schedule.peak)
        scheduler = transformers.get_scheduler(optimizer=optimizer, **arguments)

    Args:
        schedule: the schedule.
        steps: number of steps of the run.

    Raises:
        RequestError: there are too few steps for the schedule.
    """
    schedule.plan(steps)  # raises if the schedule cannot be drawn
    neutral = Schedule(peak=schedule.peak)
    if any(getattr(schedule, name) != getattr(neutral, name) for name in FOREIGN):
        return None
    warm, held, rest = schedule.phases(steps)
    found = _held(schedule, rest) if held else _shape(schedule, rest)
    if found is None:
        return None
    name, further = found
    if name == "constant" and warm:
        name = "constant_with_warmup"
    words = {"name": name, "num_warmup_steps": warm, "num_training_steps": steps}
    return {**words, "scheduler_specific_kwargs": further} if further else words


def _shape(s: Schedule, rest: int) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of a shape without a hold, for `rest` steps of decay."""
    if s.decay == "cosine" and s.power == 1 and s.cycles > 1:
        whole = s.floor == 0 and rest % s.cycles == 0
        return ("cosine_with_restarts", {"num_cycles": s.cycles}) if whole else None
    if s.decay == "constant":
        return "constant", {}
    if s.cycles > 1:
        return None
    if s.decay == "cosine" and s.power == 1:
        return ("cosine_with_min_lr", {"min_lr_rate": s.floor}) if s.floor else ("cosine", {})
    if s.decay == "polynomial" and s.power == 1 and s.floor == 0:
        return "linear", {}
    if s.decay == "polynomial":
        return "polynomial", {"power": s.power, "lr_end": s.floor * s.peak}
    if s.decay == "power_law" and s.power == 0.5 and s.rate > 0 and s.floor == 0:
        return "inverse_sqrt", {"timescale": rest / s.rate}
    return None


def _held(s: Schedule, rest: int) -> tuple[str, dict[str, Any]] | None:
    """Return name and arguments of a shape with a hold, which transformers calls stable."""
    if s.decay == "constant":
        return "constant", {}
    kinds = {("polynomial", 1.0): "linear", ("cosine", 1.0): "cosine", ("root", 0.5): "1-sqrt"}
    kind = kinds.get((s.decay, s.power))
    if kind is None or s.cycles > 1:
        return None
    return "warmup_stable_decay", {
        "num_decay_steps": rest,
        "decay_type": kind,
        "min_lr_ratio": s.floor,
    }
