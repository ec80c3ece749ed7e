"""Momentum as a discretisation of a damped Hamiltonian system."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from lrsearch.claims.chapter import check_names
from lrsearch.finding import Finding, Line, Panel
from lrsearch.theory import hamiltonian_momentum

#: γ and the end time of θ'' + γθ' + θ = 0, which starts at θ = 1 with velocity 0.
FRICTION, TIME = 0.5, 6.0
#: Time steps to compare: the largest √η of each run.
STEP_SIZES = (0.08, 0.04, 0.02, 0.01, 0.005)
RATES = ("constant", "changing")
FORMS = {"classical": "classical", "torch": "torch's"}
#: The error counts as vanishing if its order is above this; first-order methods have order 1. A
#: convention.
ORDER = 0.7


def momentum_map(*, rates: Sequence[str] = RATES, forms: Sequence[str] = tuple(FORMS)) -> Finding:
    """Test if the heavy ball with μ = 1-γ√η follows the damped Hamiltonian as η goes to 0.

    The chapter: it does, with time steps √η. This is true for a constant rate. When the rate
    changes, μ needs a correction: in the classical form (v ← μv - ηg, θ ← θ + v) the factor
    √(η_t/η_{t-1}), in torch's form (v ← μv + g, θ ← θ - ηv) its inverse. Without the correction
    the error does not vanish, even for arbitrarily small steps. The reference is the differential
    equation, integrated numerically; the order is measured by refining the steps.
    Source of the map: Su, Boyd & Candès 2016, arXiv 1503.01243.

    Args:
        rates: rates to test, `constant` and `changing` (√η falls to a tenth).
        forms: forms of momentum to test, `classical` and `torch`.

    Raises:
        RequestError: a name is unknown.
    """
    check_names("rates", rates, RATES)
    check_names("form", forms, FORMS)
    cases: dict[str, bool] = {}
    variants: dict[str, bool] = {}
    figures: dict[str, float | tuple[float, float]] = {}
    lines = []
    for kind, form, corrected in itertools.product(rates, forms, (False, True)):
        if corrected and kind == "constant":
            continue  # a constant rate needs no correction
        errors = [_error(step, kind, form, corrected) for step in STEP_SIZES]
        order = math.log2(errors[-2] / errors[-1])
        words = f"{kind} rate, {FORMS[form]} form"
        key = f"{kind}_{form}{'_corrected' if corrected else ''}"
        figures |= {f"order_{key}": order, f"error_{key}": errors[-1]}
        if corrected:
            factor = "√(η_t/η_{t-1})" if form == "classical" else "√(η_{t-1}/η_t)"
            variants[f"{words}, μ times {factor}"] = order > ORDER
        else:
            cases[words] = order > ORDER
        label, style = (f"{words}, corrected", "points") if corrected else (words, "line")
        lines.append(Line(label=label, x=STEP_SIZES, y=tuple(errors), style=style))
    return Finding(
        cases=cases,
        figures=figures,
        panels=(
            Panel(
                title="distance from the exact Hamiltonian path",
                x="largest √η",
                y="largest error of θ",
                lines=tuple(lines),
                log_x=True,
                log_y=True,
            ),
        ),
        variants=variants,
    )


def _error(step: float, kind: str, form: str, corrected: bool) -> float:
    """Return the largest distance of θ from the exact solution over a run."""
    roots, time = [], 0.0
    while time < TIME:
        roots.append(step * (1 - 0.9 * time / TIME) if kind == "changing" else step)
        time += roots[-1]
    theta, velocity, path = 1.0, 0.0, []
    for last, root in itertools.pairwise([roots[0], *roots]):
        rate, mu = root * root, hamiltonian_momentum(root * root, FRICTION)
        if corrected:
            mu *= root / last if form == "classical" else last / root
        if form == "classical":
            velocity = mu * velocity - rate * theta
            theta += velocity
        else:
            velocity = mu * velocity + theta
            theta -= rate * velocity
        path.append(theta)
    return float(np.abs(np.array(path) - _truth(np.cumsum(roots))).max())


def _truth(times: np.ndarray) -> np.ndarray:
    """Solve for θ at the given times, by an eighth-order Runge-Kutta method."""
    from scipy import integrate  # importing it takes 0.3 s

    solved = integrate.solve_ivp(
        lambda _, y: [y[1], -FRICTION * y[1] - y[0]],
        (0, float(times[-1])),
        [1.0, 0.0],
        method="DOP853",
        t_eval=times,
        rtol=1e-9,
        atol=1e-11,
    )
    return np.asarray(solved.y[0])
