"""What diagnostics cost, and so when they are affordable.

What a look costs is counted in updates, from the arithmetic alone and never by a clock, so that a
run is measured alike on every machine and however often it was interrupted. The time that looks
really took is reported.
"""

from __future__ import annotations

from collections.abc import Mapping

from lrsearch.curves import round_half_up

#: The share of a run's updates that looks may cost, by level.
SHARES = {"none": 0.0, "schedule": 0.0, "cheap": 0.1, "full": 1.0}
#: Products with the Hessian for its largest eigenvalue. From the gradient, ten are within 1 % in
#: 97 of 100 looks at the digits' MLP, fifteen in all (measured); each look has its own bound.
LANCZOS, TRACE_VECTORS, NOISE_DRAWS, PARTS = 12, 8, 4, 4
#: Samples of a look for every sample of an update, and how many at least and at most.
SAMPLES_A_SAMPLE, FEWEST_SAMPLES, MOST_SAMPLES = 1, 16, 256
#: What a product with the Hessian costs beside a gradient of as many samples (measured: 1.3 on
#: the digits' MLP, 2.5 on a GPT), and a loss alone.
PRODUCT_COST, LOSS_COST = 2.2, 0.4
#: What norms at one update cost, in updates: so much, and so much over the batch (measured on MLPs
#: of up to 10^6 parameters: an update costs in proportion to the batch, its norms do not).
NORMS_COST, NORMS_COST_OF_ONE = 0.1, 5.0
#: At how many updates they are taken, and the part of a level's share that they may use.
EVERY, FEWEST_NORMS, MOST_NORMS, NORMS_SHARE = 25, 8, 64, 0.3
#: Looks along the way, at most.
LOOKS = 15

#: Cost of the parts of a look, in gradients of as many samples, dearest last.
COSTS = {
    "rises": 1 + LOSS_COST * (2 + NOISE_DRAWS),
    "noise": 1.0,
    "sharpness": 1 + LANCZOS * PRODUCT_COST,
    "margin": 1.0,
    "trace": 1 + TRACE_VECTORS * PRODUCT_COST,
}
#: What only `full` measures: the largest margin takes a quadratic program besides.
DEAR = ("margin", "trace")
#: Looks along the way take these: the rest is of interest at the end.
ALONG = ("noise", "sharpness")


def samples(batch: int, available: int) -> int:
    """Return how many samples looks take, for runs whose first batch is so large."""
    return min(max(SAMPLES_A_SAMPLE * batch, FEWEST_SAMPLES), max(batch, MOST_SAMPLES), available)


def norm_updates(level: str, updates: int, batch: int) -> frozenset[int]:
    """Return the updates whose norms are wanted, evenly spaced, first and last included."""
    if not SHARES[level]:
        return frozenset()
    affordable = int(NORMS_SHARE * SHARES[level] * updates / _norms_cost(batch))
    wanted = min(max(updates // EVERY, FEWEST_NORMS), MOST_NORMS, updates)
    points, last = max(min(wanted, affordable), 1), updates - 1
    if points == 1:
        return frozenset({last})
    return frozenset(round_half_up(i * last / (points - 1)) for i in range(points))


def agenda(level: str, updates: int, batch: int, available: int) -> Mapping[int, frozenset[str]]:
    """Return after how many updates the landscape is looked at, and what is measured there.

    What fits into the level's share, the end first; `full` measures everything at the end whether
    it fits or not.

    Args:
        level: one of `lrsearch.contract.LEVELS`.
        updates: T of the run.
        batch: of its first update.
        available: samples that there are to train on.
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
    """What norms at one update cost, in updates."""
    return NORMS_COST + NORMS_COST_OF_ONE / batch
