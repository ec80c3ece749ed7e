"""Write plans.json again. Run this only for a change of schedules that CHANGELOG.md documents."""

import json
from pathlib import Path

from lrsearch import Schedule

CASES = [
    (Schedule(peak=0.1), 10, 4),
    (Schedule(peak=0.1, warmup=0.2, hold=0.25, decay="root", power=0.5, floor=0.1), 20, 4),
    (Schedule(peak=3e-4, decay="step", drops=3, gamma=0.5, warmup=0.1), 21, 1),
    (Schedule(peak=2.0, decay="spline", knot_x1=0.2, knot_y1=0.9, smoothing=0.3), 15, 1),
    (Schedule(peak=1.0, cycles=3, cycle_growth=2.0, cycle_damping=0.7, floor=0.05), 21, 1),
    (Schedule(peak=0.5, decay="rex", batch_growth=4.0, coupling=1.0), 24, 8),
    (Schedule(peak=0.5, decay="exponential", batch_growth=4.0, batch_ramp="linear"), 24, 8),
    (Schedule(peak=0.5, decay="power_law", rate=20.0, power=0.5, warmup=0.3), 12, 2),
    (Schedule(peak=0.2, momentum=0.95, momentum_rule="opposed", warmup=0.4), 10, 1),
    (Schedule(peak=0.2, momentum=0.9, momentum_rule="critical_heavy_ball", curvature=1.0), 9, 1),
]

if __name__ == "__main__":
    rows = []
    for schedule, steps, batch in CASES:
        plan = schedule.plan(steps, batch)
        rows.append(
            {
                "schedule": schedule.to_dict(defaults=False),
                "steps": steps,
                "batch": batch,
                "lr": plan.lr.tolist(),
                "batches": plan.batch.tolist(),
                "momentum": plan.momentum.tolist(),
            }
        )
    path = Path(__file__).with_name("plans.json")
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
