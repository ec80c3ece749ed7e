"""The rate at which a gradient step adds energy, and its relation to stability."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from lrsearch.claims.chapter import check_names
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import energy_limit

VELOCITIES = {
    "displacement": "one step from rest, v = -ηλθ",
    "over root rate": "one step from rest, v = -ηλθ/√η, the velocity that the chapter defines",
}
#: Largest relative error at which a formula counts as confirmed. A convention.
NEAR = 1e-6


def energy(
    *,
    velocities: Sequence[str] = tuple(VELOCITIES),
    stability: bool = True,
    curvatures: Sequence[float] = (0.5, 1.0, 4.0),
) -> Finding:
    """Find the rate above which one step raises V = ½λθ² + ½v², by taking steps.

    The chapter: a step injects energy exactly if η > 2/(λ+1), which marks instability. This is
    true for the velocity v = -ηλθ and one step from rest. With the velocity v/√η, which the
    chapter itself defines, the threshold is 1/λ. Neither threshold is the limit of stability,
    which is 2/λ: at λ = 1 and η = 1 the step adds no energy, and gradient descent reaches the
    minimum in one step. Exact algebra, checked by taking steps; no randomness.
    Source of the limit 2/λ: Polyak 1964.

    Args:
        velocities: definitions of the velocity to test, `displacement` and `over root rate`.
        stability: True to test also if gradient descent diverges above the threshold.
        curvatures: λ, above 0.

    Raises:
        RequestError: a velocity is unknown or a curvature is out of range.
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
    """Return the change of the energy in one step from rest at θ = 1."""
    step = -rate * curvature
    v = step if velocity == "displacement" else step / np.sqrt(rate)
    return np.asarray(0.5 * curvature * ((1 + step) ** 2 - 1) + 0.5 * v**2)


def _distance(rate: np.ndarray, curvature: np.ndarray, updates: int = 100) -> np.ndarray:
    """Return |θ| after gradient descent from θ = 1."""
    theta = np.ones_like(curvature)
    for _ in range(updates):
        theta = theta - rate * curvature * theta
    return np.asarray(np.abs(theta))


def _threshold(rises: Callable[[np.ndarray], np.ndarray], curvature: np.ndarray) -> np.ndarray:
    """Return the rate above which `rises` is positive, by bisection; the shape is that of λ."""
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
        "|θ| after 10 steps": _distance(rates, one, 10),
    }
    return Panel(
        title="λ = 1: energy and convergence",
        x="learning rate",
        y="energy, distance",
        lines=tuple(Line(label=n, x=tuple(rates), y=tuple(c)) for n, c in curves.items()),
    )
