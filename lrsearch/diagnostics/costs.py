"""The cost of diagnostics, which determines what is measured and when.

The cost of a measurement is computed in steps of training, never measured by a clock. A run
therefore has the same diagnostics on every machine, even if it was interrupted. The wall time of
the measurements is reported.
"""

from __future__ import annotations

from collections.abc import Mapping

from lrsearch.curves import round_half_up

#: Largest cost of a run's measurements, as a fraction of its steps, by level.
SHARES = {"none": 0.0, "schedule": 0.0, "cheap": 0.1, "full": 1.0}
#: Products with the Hessian for its largest eigenvalue, random vectors for its trace, draws of
#: weight noise, and parts of the samples for the gradient noise. Products, measured on the digits'
#: MLP and starting from the gradient: ten give the eigenvalue within 1 % in 97 of 100 cases,
#: fifteen in all. Every measurement also reports an error bound.
LANCZOS, TRACE_VECTORS, NOISE_DRAWS, PARTS = 12, 8, 4, 4
#: Samples of a measurement per sample of a batch, and their smallest and largest number.
SAMPLES_A_SAMPLE, FEWEST_SAMPLES, MOST_SAMPLES = 1, 16, 256
#: Cost of a product with the Hessian (measured: 1.3 on the digits' MLP, 2.5 on a GPT) and of a
#: loss, in gradients over the same number of samples.
PRODUCT_COST, LOSS_COST = 2.2, 0.4
#: Cost of the norms of one step, in steps: a constant, and a number divided by the batch size.
#: Measured on MLPs of up to 10^6 parameters: the cost of a step is proportional to the batch size,
#: the cost of its norms is not.
NORMS_COST, NORMS_COST_OF_ONE = 0.1, 5.0
#: Norms are taken every `EVERY` steps, `FEWEST_NORMS` to `MOST_NORMS` times per run, and may use
#: this part of the level's share.
EVERY, FEWEST_NORMS, MOST_NORMS, NORMS_SHARE = 25, 8, 64, 0.3
#: Largest number of measurements before the end of a run.
LOOKS = 15

#: Cost of the parts of a measurement, in gradients over the same number of samples, in the order
#: in which they are chosen.
COSTS = {
    "rises": 1 + LOSS_COST * (2 + NOISE_DRAWS),
    "noise": 1.0,
    "sharpness": 1 + LANCZOS * PRODUCT_COST,
    "margin": 1.0,
    "trace": 1 + TRACE_VECTORS * PRODUCT_COST,
}
#: Parts that only `full` measures. The largest margin also needs a quadratic program.
DEAR = ("margin", "trace")
#: Parts of the measurements before the end. The other parts matter only at the end.
ALONG = ("noise", "sharpness")


def samples(batch: int, available: int) -> int:
    """Return the number of samples of a measurement.

    Args:
        batch: batch size of the runs' first step.
        available: number of training samples.
    """
    return min(max(SAMPLES_A_SAMPLE * batch, FEWEST_SAMPLES), max(batch, MOST_SAMPLES), available)


def norm_updates(level: str, updates: int, batch: int) -> frozenset[int]:
    """Return the updates whose norms are kept, evenly spaced from the first to the last."""
    if not SHARES[level]:
        return frozenset()
    affordable = int(NORMS_SHARE * SHARES[level] * updates / _norms_cost(batch))
    wanted = min(max(updates // EVERY, FEWEST_NORMS), MOST_NORMS, updates)
    points, last = max(min(wanted, affordable), 1), updates - 1
    if points == 1:
        return frozenset({last})
    return frozenset(round_half_up(i * last / (points - 1)) for i in range(points))


def agenda(level: str, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
    """Return the parts of the landscape to measure, by the number of steps done before.

    Measurements are planned within the level's share, those at the end of the run first. `full`
    measures everything at the end even if it exceeds the share.

    Args:
        level: one of `lrsearch.contract.LEVELS`.
        updates: T, the number of steps of the run.
        batch: batch size of its first step.
        available: number of training samples.
    """
    if not SHARES[level]:
        return {}
    each = max(samples(batch, available) / batch, 1.0)
    left = SHARES[level] * updates - _norms_cost(batch) * len(norm_updates(level, updates, batch))
    last = set()
    for part, cost in COSTS.items():
        if level == "full" or (part not in DEAR and cost * each <= left):
            last.add(part)
            left -= cost * each
    along = ALONG if level != "full" else (*ALONG, "margin")
    look = each * sum(COSTS[part] for part in along)
    looks = max(0, min(LOOKS, int(left / look), updates - 1)) if "sharpness" in last else 0
    marks = {round_half_up(updates * i / (looks + 1)) for i in range(1, looks + 1)}
    return {**{t: frozenset(along) for t in marks - {0, updates}}, updates: frozenset(last)}


def _norms_cost(batch: int) -> float:
    """Return the cost of the norms of one step, in steps."""
    return NORMS_COST + NORMS_COST_OF_ONE / batch
