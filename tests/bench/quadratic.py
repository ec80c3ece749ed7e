"""The exact quadratic compared with a sampled loop: `python -m tests.bench.quadratic`.

1024 plans x 1000 steps x 100 modes on one thread, best of five. The alternative is a plain NumPy
loop that draws the noise for 16 seeds of one plan.
"""

import time

import numpy as np
import threadpoolctl

from lrsearch import Schedule
from lrsearch.quadratic import expected_loss, noisy_quadratic
from tests.bench.machine import record

PLANS, UPDATES, MODES, SEEDS = 1024, 1000, 100, 16


def sampled(problem, plan):
    """Return the mean final loss of noisy SGD over 16 seeds, by simulation."""
    generator = np.random.default_rng(0)
    theta = generator.standard_normal((SEEDS, MODES))
    h = problem.curvature
    for lr, batch in plan:
        noise = generator.standard_normal((SEEDS, MODES)) * np.sqrt(h / batch)
        theta -= lr * (h * theta + noise)
    return 0.5 * float(((theta**2) @ h).mean())


def best_of(repeats, work):
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main():
    problem = noisy_quadratic(MODES)
    peaks = np.geomspace(0.01, 1.0, PLANS)
    plans = [Schedule(peak=peak, warmup=0.05).plan(UPDATES, 16) for peak in peaks]
    with threadpoolctl.threadpool_limits(1):
        exact = best_of(5, lambda: expected_loss(problem, plans))
        loop = best_of(5, lambda: sampled(problem, plans[PLANS // 2]))
    record(
        "quadratic",
        {
            "exact_seconds_for_1024_plans": round(exact, 4),
            "sampled_seconds_for_1_plan_and_16_seeds": round(loop, 4),
            "ratio_per_plan": round(loop / (exact / PLANS), 1),
            "threads": 1,
        },
    )


if __name__ == "__main__":
    main()
