"""The learning rate at which SGD's stationary distribution equals the prior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import pac_bayes_rate

#: Largest relative error at which the chapter's rate counts as the best one. A convention.
NEAR = 0.05


def pac_bayes(
    *, products: Sequence[float] = (0.02, 1.0, 3.0), curvature: float = 2.0, noise: float = 1.5
) -> Finding:
    """Find the rate that minimises the KL divergence of SGD's stationary state from the prior.

    The chapter: η = 2λτ²/σ². This is true if ηλ of that rate is small. The exact stationary
    variance, ησ²/(λ(2-ηλ)), gives η = 2λτ²/(σ²+λ²τ²), which is always below 2/λ; the chapter's
    rate can be unstable. The experiment finds the variance by iterating SGD's recursion until it
    converges, and the best rate by grid search. It uses neither formula.
    Source: Mandt, Hoffman & Blei 2017, arXiv 1704.04289.

    Args:
        products: ηλ of the chapter's rate; each sets the prior's standard deviation
            τ = √(ηλ)·σ/(λ√2).
        curvature: λ, above 0.
        noise: σ, the standard deviation of the gradient noise, above 0.

    Raises:
        RequestError: a number is out of range.
    """
    positive = Bound(low=0, open_low=True)
    for value in (*products, positive.check("curvature", curvature)):
        positive.check("product", value)
    positive.check("noise", noise)
    cases: dict[str, bool] = {}
    figures: dict[str, float] = {}
    lines, exact = [], True
    for product in products:
        prior = math.sqrt(product / 2) * noise / curvature
        rates = np.geomspace(1e-3, 1.0, 400, endpoint=False) * 2 / curvature
        kl = _divergence(rates, curvature, prior, noise)
        lines.append(Line(label=f"chapter's ηλ = {product:g}", x=tuple(rates), y=tuple(kl)))
        best = float(rates[int(np.argmin(kl))])
        for width in (0.02, 1e-3):  # finer grids around the best rate so far
            near = best * np.linspace(1 - width, 1 + width, 81)
            near = near[near * curvature < 2]
            best = float(near[int(np.argmin(_divergence(near, curvature, prior, noise)))])
        written = pac_bayes_rate(curvature, prior, noise, exact=False)
        corrected = pac_bayes_rate(curvature, prior, noise)
        exact &= abs(corrected / best - 1) < 1e-3
        figures |= {
            f"best_rate_{product:g}": best,
            f"chapter_rate_{product:g}": written,
            f"exact_rate_{product:g}": corrected,
        }
        unstable = "" if written * curvature < 2 else " (unstable)"
        cases[f"the chapter's rate has ηλ = {product:g}{unstable}"] = (
            abs(written / best - 1) < NEAR
        )
    panel = Panel(
        title="KL divergence from the prior",
        x="learning rate",
        y="nats",
        lines=tuple(lines),
        log_x=True,
        log_y=True,
    )
    return Finding(
        cases=cases,
        figures=figures,
        panels=(panel,),
        variants={"η = 2λτ²/(σ²+λ²τ²) minimises the divergence in all these cases": exact},
    )


def _divergence(rates: np.ndarray, curvature: float, prior: float, noise: float) -> np.ndarray:
    """Return KL(N(0, V) || N(0, τ²)) in nats for the limit V of SGD's variance, at each rate."""
    variance = rates**2 * noise**2
    keep = (1 - rates * curvature) ** 2
    while True:
        # Doubling: V after n steps is Σ_{k<n} keep^k·η²σ²; V after 2n steps follows from it.
        doubled = variance * (1 + keep)
        keep = keep * keep
        if np.all(np.abs(doubled - variance) <= 1e-14 * doubled):
            break
        variance = doubled
    ratio = doubled / prior**2
    return np.asarray(0.5 * (ratio - 1 - np.log(ratio)))
