"""The law of minibatch noise and its consequences for learning rate and batch size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from lrsearch.claims.interval import Interval, within
from lrsearch.curves import Curve
from lrsearch.finding import Finding, Line, Panel
from lrsearch.quadratic import Quadratic, expected_loss, noisy_quadratic
from lrsearch.schedule import Schedule
from lrsearch.seeding import stream
from lrsearch.stats import mean_interval
from lrsearch.theory import noise_scale as scale_of
from lrsearch.theory import stationary_variance

#: Largest errors at which a law counts as confirmed: absolute for exponents, relative for plateaus
#: and for ratios of rates. Conventions.
EXPONENT, PLATEAU, RATIO = 0.05, 0.1, 0.15
#: Target loss of the noisy quadratic model; its initial loss is 4.9.
TARGET = 0.01
SAMPLES, REPEATS, DRAWS = 128, 20, 1_000


def noise_scale(
    *,
    batches: Sequence[int] = (16, 64, 256, 1024, 4096),
    replacement: bool = True,
    modes: int = 10_000,
    seed: int = 0,
) -> Finding:
    """Test four consequences of the law of minibatch noise, from update noise to linear scaling.

    The chapter: the noise of an update is proportional to η²/B; η/B is the noise scale; η ∝ B
    keeps it constant; so the rate may grow with the batch. The first is exact for samples drawn
    with replacement (without replacement the variance falls as 1/B - 1/N). With a constant noise
    scale the loss stays on its plateau, so the noise is not annealed. The best fixed rate of the
    noisy quadratic model (Zhang et al. 2019, arXiv 1907.04164) is proportional to B only below the
    critical batch (McCandlish et al. 2018, arXiv 1812.06162); above, it saturates at 2/h_max.
    Source of linear scaling: Goyal et al. 2017, arXiv 1706.02677. Source of growing batches:
    Smith et al. 2018, arXiv 1711.00489.

    Args:
        batches: batch sizes in increasing order; linear scaling is tested from each to the next.
        replacement: True if minibatches are drawn with replacement.
        modes: number of modes of the noisy quadratic model.
        seed: seed of the minibatches.
    """
    by_rate, by_batch, curve = _exponents(replacement, seed)
    drawn = "with" if replacement else "without"
    held, annealed, spread, ramp = _ramps()
    cases = {
        f"update noise ∝ η²/B, samples drawn {drawn} replacement": within(by_rate, 2, EXPONENT)
        and within(by_batch, -1, EXPONENT),
        "η ∝ B keeps η/B and the loss constant while B grows": spread < 1e-9
        and abs(held - 1) < PLATEAU,
    }
    figures: dict[str, float | Interval] = {
        "exponent_of_rate_interval": by_rate,
        "exponent_of_batch_interval": by_batch,
        "loss_after_ramp_with_rate": held,
        "loss_after_ramp_alone": annealed,
    }
    best = {batch: _best_rate(batch, modes) for batch in batches}
    for batch, (rate, updates) in best.items():
        figures |= {f"best_rate_{batch}": rate, f"updates_{batch}": updates}
    for (a, (low, _)), (b, (high, _)) in itertools.pairwise(best.items()):
        cases[f"linear scaling of the best rate from B={a} to B={b}"] = (
            abs(high / low / (b / a) - 1) < RATIO
        )
    rates = tuple(rate for rate, _ in best.values())
    scaling = Panel(
        title="best fixed rate, noisy quadratic",
        x="batch size",
        y="learning rate",
        lines=(
            Line(label="best rate", x=tuple(batches), y=rates, style="points"),
            Line(
                label="linear scaling",
                x=tuple(batches),
                y=tuple(rates[0] * batch / batches[0] for batch in batches),
            ),
            Line(label="2/h_max", x=(batches[0], batches[-1]), y=(2.0, 2.0)),
        ),
        log_x=True,
        log_y=True,
    )
    return Finding(
        cases=cases,
        figures=figures,
        panels=(curve, ramp, scaling),
        variants={"a constant noise scale anneals like a growing batch": held < 2 * annealed},
    )


def _exponents(replacement: bool, seed: int) -> tuple[Interval, Interval, Panel]:
    """Return 95 % t intervals of the exponents of η and B in the variance of an update."""
    rng = stream(seed, "minibatch noise")
    x = rng.standard_normal(SAMPLES)
    # Per-sample gradients of a least-squares loss at one point.
    gradients = x * (x * 0.5 - rng.standard_normal(SAMPLES))
    sizes, rates = np.array([1, 4, 16, 64]), np.array([0.01, 0.1, 1.0])

    def variance(rate: float, size: int) -> Curve:
        if replacement:
            chosen = rng.integers(0, SAMPLES, (REPEATS * DRAWS, int(size)))
        else:
            order = np.tile(np.arange(SAMPLES, dtype=np.int16), (REPEATS * DRAWS, 1))
            chosen = rng.permuted(order, axis=1)[:, : int(size)]
        step = rate * gradients[chosen].mean(axis=1)
        return np.asarray(step.reshape(REPEATS, DRAWS).var(axis=1, ddof=1))

    by_size = np.array([variance(0.1, size) for size in sizes])
    by_rate = np.array([variance(rate, 16) for rate in rates])
    of_rate = mean_interval(np.polyfit(np.log(rates), np.log(by_rate), 1)[0])
    of_size = mean_interval(np.polyfit(np.log(sizes), np.log(by_size), 1)[0])
    if of_rate is None or of_size is None:
        raise ValueError("the variance of an update is not finite")
    means = by_size.mean(axis=1)
    panel = Panel(
        title="variance of an update",
        x="batch size",
        y="variance",
        lines=(
            Line(label="measured", x=tuple(sizes), y=tuple(means), style="points"),
            Line(label="∝ 1/B", x=tuple(sizes), y=tuple(means[0] / sizes)),
        ),
        log_x=True,
        log_y=True,
    )
    return of_rate, of_size, panel


def _ramps() -> tuple[float, float, float, Panel]:
    """Run from the stationary state while the batch grows eightfold, with η ∝ B and with η fixed.

    Returns:
        last loss / first loss with η ∝ B, the same ratio with η fixed, the relative spread of η/B
        with η ∝ B, and a panel of both curves.
    """
    h = 1 / np.arange(1, 101)
    rate, batch, growth = 0.01, 8, 8.0
    start = [stationary_variance(rate, float(c), math.sqrt(c / batch)) for c in h]
    problem = Quadratic(curvature=h, start=np.array(start))
    schedule = Schedule(peak=rate, decay="constant", batch_growth=growth)
    plans = {
        "η ∝ B": schedule.replace(coupling=1.0).plan(100_000, batch),
        "η fixed": schedule.replace(coupling=0.0).plan(100_000, batch),
    }
    curves = expected_loss(problem, list(plans.values()))
    scales = scale_of(plans["η ∝ B"].lr, plans["η ∝ B"].batch)
    thin = np.linspace(0, len(curves[0]) - 1, 200).astype(int)
    panel = Panel(
        title="batch grows eightfold",
        x="step",
        y="loss / initial loss",
        lines=tuple(
            Line(label=name, x=tuple(thin), y=tuple(curve[thin] / curve[0]))
            for name, curve in zip(plans, curves, strict=True)
        ),
        log_y=True,
    )
    held, annealed = (float(curve[-1] / curve[0]) for curve in curves)
    return held, annealed, float(np.ptp(scales) / scales.mean()), panel


def _best_rate(batch: int, modes: int) -> tuple[float, float]:
    """Return the fixed rate that reaches the target loss in the fewest steps, and their number.

    At a fixed rate the variance of every mode has a closed form: the stationary variance plus a
    geometric term. The rate is at most 2/(1+2·10⁻⁴), just below 2/h_max.
    """
    from scipy import optimize  # importing it takes 0.3 s

    h = noisy_quadratic(modes).curvature

    def updates(log_rate: float) -> float:
        rate = math.exp(log_rate)
        limit = rate / (batch * (2 - rate * h))
        floor = 0.5 * float(h @ limit)
        if floor >= TARGET:
            return 1e12 * floor / TARGET
        slope, weight = 2 * np.log(np.abs(1 - rate * h) + 1e-300), h * (1 - limit)
        low, high = 0.0, 1.0
        while 0.5 * float(weight @ np.exp(slope * high)) + floor > TARGET:
            low, high = high, 2 * high
        while high - low > 1e-5 * high:
            middle = 0.5 * (low + high)
            above = 0.5 * float(weight @ np.exp(slope * middle)) + floor > TARGET
            low, high = (middle, high) if above else (low, middle)
        return high

    top = 2 / (1 + 2e-4)
    # At this rate the noise alone causes the target loss.
    noisy = 4 * TARGET * batch / float(h.sum())
    bounds = (math.log(min(top, noisy) / 100), math.log(min(top, noisy)))
    found = optimize.minimize_scalar(
        updates, bounds=bounds, method="bounded", options={"xatol": 1e-3}
    )
    return math.exp(found.x), float(found.fun)
