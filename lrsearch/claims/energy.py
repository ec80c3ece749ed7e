"""When a gradient step injects energy, and whether that says anything about stability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lrsearch.claims.chapter import check_names
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import energy_limit

VELOCITIES = {
    "displacement": "one step from rest, v = -ηλθ",
    "over root rate": "one step from rest, v = -ηλθ/√η, the chapter's own velocity",
}
#: How near a measured threshold must be to count as the formula's. A convention.
NEAR = 1e-6


def energy(
    *,
    velocities: Sequence[str] = tuple(VELOCITIES),
    stability: bool = True,
    curvatures: Sequence[float] = (0.5, 1.0, 4.0),
) -> Finding:
    """The rate from which one step raises V = ½λθ² + ½v², found by taking steps.

    The chapter: a step injects energy exactly if η > 2/(λ+1), which marks instability. True for
    the velocity v = -ηλθ and one step from rest. With the velocity v/√η, which the chapter
    introduces itself, the threshold is 1/λ. Neither is a limit of stability, which is 2/λ: at
    λ = 1 and η = 1 the step injects nothing and gradient descent lands on the minimum.
    Exact algebra, compared by steps; no randomness. The limit 2/λ: Polyak 1964.

    Args:
        velocities: which of `displacement` and `over root rate` to try.
        stability: whether to try the threshold as the limit of stability.
        curvatures: λ, above 0.

    Raises:
        RequestError: a velocity is unknown or a curvature out of range.
    """
    check_names("velocity", velocities, VELOCITIES)
    laws = np.array([energy_limit(curvature) for curvature in curvatures])
    lam = np.array(curvatures, dtype=np.float64)
    found = {v: _threshold(partial(_change, curvature=lam, velocity=v), lam) for v in velocities}
    diverges = _threshold(lambda rate: _distance(rate, lam) - 1, lam)
    tried = {VELOCITIES[velocity]: rates for velocity, rates in found.items()}
    if stability:
        tried["gradient descent diverges above it"] = diverges
    figures = {
        f"threshold_{velocity.replace(' ', '_')}_{curvature:g}": float(rate)
        for velocity, rates in found.items()
        for curvature, rate in zip(curvatures, rates, strict=True)
    }
    for curvature, law, rate in zip(curvatures, laws, diverges, strict=True):
        figures[f"formula_{curvature:g}"] = float(law)
        figures[f"diverges_above_{curvature:g}"] = float(rate)
    return Finding(
        cases={case: bool(np.all(np.abs(t / laws - 1) < NEAR)) for case, t in tried.items()},
        figures=figures,
        panels=(_panel(),),
    )


def _change(rate: np.ndarray, curvature: np.ndarray, velocity: str) -> np.ndarray:
    """Energy after one step from rest at θ = 1 minus energy before."""
    step = -rate * curvature
    v = step if velocity == "displacement" else step / np.sqrt(rate)
    return np.asarray(0.5 * curvature * ((1 + step) ** 2 - 1) + 0.5 * v**2)


def _distance(rate: np.ndarray, curvature: np.ndarray, updates: int = 100) -> np.ndarray:
    """|θ| after gradient descent from θ = 1."""
    theta = np.ones_like(curvature)
    for _ in range(updates):
        theta = theta - rate * curvature * theta
    return np.asarray(np.abs(theta))


def _threshold(rises: Callable[[np.ndarray], np.ndarray], curvature: np.ndarray) -> np.ndarray:
    """The rate from which a function of it is above 0, by bisection; shape of λ."""
    low, high = np.full_like(curvature, 1e-9), 3 / curvature + 3
    for _ in range(60):
        middle = 0.5 * (low + high)
        yes = rises(middle) > 0
        low, high = np.where(yes, low, middle), np.where(yes, middle, high)
    return high


def _panel() -> Panel:
    rates = np.linspace(1e-3, 2.2, 200)
    one = np.ones_like(rates)
    curves = {
        "energy change, v = -ηλθ": _change(rates, one, "displacement"),
        "energy change, v = -ηλθ/√η": _change(rates, one, "over root rate"),
        "|θ| after 10 updates": _distance(rates, one, 10),
    }
    return Panel(
        title="λ = 1: energy and convergence",
        x="learning rate",
        y="energy, distance",
        lines=tuple(Line(label=n, x=tuple(rates), y=tuple(c)) for n, c in curves.items()),
    )
