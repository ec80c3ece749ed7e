"""The variance of SGD as a diffusion, and its limit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lrsearch.bounds import Bound
from lrsearch.claims.chapter import check_names
from lrsearch.claims.interval import Interval, within
from lrsearch.finding import Finding, Line, Panel
from lrsearch.seeding import stream
from lrsearch.stats import mean_interval
from lrsearch.theory import diffusion_variance

#: The noise s of dθ = -aηθ dt + s·dW: σ√η (root, in the chapter) or ση (proportional, in SGD).
NOISES = ("root", "proportional")
PULL, RATE, NOISE, START = 1.0, 0.1, 1.0, 1.0
PATHS, STEPS, TIME = 40_000, 400, 20.0
#: A formula counts as confirmed if the whole interval is within this relative distance of it. The
#: bias of Euler's method is less than a twentieth of that (measured).
NEAR = 0.05


def _word(fall: float) -> str:
    return f"η0/(1+{fall:g}t)" if fall else "constant rate"


def diffusion(
    *,
    falls: Sequence[float] = (0.0, 0.05, 0.5),
    formula: str = "root",
    simulated: str = "root",
    seed: int = 0,
) -> Finding:
    """Compare the variance of `dθ = -aη θ dt + σ√η dW`, η = η0/(1+βt), with sampled paths.

    The chapter: Var = (V0 - σ²/2a)(1+βT)^(-2aη0/β) + σ²/2a. This is exactly true. The paths are
    simulated by the Euler-Maruyama method, which has a bias of a quarter of a percent here. A case
    counts as true if the whole 95 % interval of the sampled variance lies within 5 % of the
    formula. Source of the diffusion: Mandt, Hoffman & Blei 2017, arXiv 1704.04289.

    Args:
        falls: values of β; 0 is a constant rate.
        formula: the noise in the formula, `root` or `proportional`.
        simulated: the noise in the simulated paths, `root` or `proportional`.
        seed: seed of the simulated paths.

    Raises:
        RequestError: a noise is unknown, or a value of `falls` is below 0.
    """
    check_names("formula", [formula], NOISES)
    check_names("simulated", [simulated], NOISES)
    cases: dict[str, bool] = {}
    figures: dict[str, float | Interval] = {}
    lines = []
    for i, fall in enumerate(falls):
        times, ends, variances = _simulate(fall, simulated, stream(seed, "paths", i))
        laws = [_law(float(t), fall, formula) for t in times]
        interval = mean_interval(ends**2)
        if interval is None:
            raise ValueError("the paths are not finite")
        key = f"fall_{fall:g}"
        figures |= {
            f"{key}_formula": laws[-1],
            f"{key}_simulated": float(variances[-1]),
            f"{key}_simulated_interval": interval,
        }
        cases[f"{_word(fall)} to T = {TIME:g}"] = within(interval, laws[-1], NEAR * laws[-1])
        lines += [
            Line(label=_word(fall), x=tuple(times), y=tuple(laws)),
            Line(label="", x=tuple(times[::40]), y=tuple(variances[::40]), style="points"),
        ]
    title = "formula (lines), simulation (points)"
    panel = Panel(title=title, x="time", y="variance", lines=tuple(lines))
    return Finding(cases=cases, figures=figures, panels=(panel,))


def _law(time: float, fall: float, noise: str) -> float:
    return diffusion_variance(
        time,
        start=START,
        pull=PULL,
        noise=NOISE,
        rate=RATE,
        fall=fall,
        scaled=noise == "proportional",
    )


def _simulate(
    fall: float, noise: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the times `[STEPS+1]`, the final θ `[PATHS]` and the variance at every time."""
    dt = TIME / STEPS
    theta = rng.standard_normal(PATHS) * START**0.5
    variances = [float(np.mean(theta**2))]
    for k in range(STEPS):
        rate = RATE / (1 + fall * k * dt)
        strength = NOISE * (rate**0.5 if noise == "root" else rate) * dt**0.5
        theta *= 1 - PULL * rate * dt
        theta += strength * rng.standard_normal(PATHS)
        variances.append(float(np.mean(theta**2)))
    return np.linspace(0, TIME, STEPS + 1), theta, np.array(variances)


def diffusion_limit(
    *, noises: Sequence[str] = ("root",), fall: float = 0.05, time: float = 1000.0
) -> Finding:
    """Test if decay lowers the limit of the variance, by integrating the moment equation.

    The chapter concludes from its formula that a decaying rate reaches a smaller limit. It does
    not: the limit is σ²/2a for every schedule whose ∫η diverges, because the rate rescales time
    and noise in the same way. The conclusion is true if the noise is proportional to the rate, as
    in SGD: there a hyperbolic rate drives the variance to 0. Exact; no randomness. The equation
    dV/dt = -2aηV + s² is integrated numerically; the closed form is not used.
    Source: Mandt, Hoffman & Blei 2017, arXiv 1704.04289, for the noise of SGD.

    Args:
        noises: laws of the noise to test, `root` and `proportional`.
        fall: β of η = η0/(1+βt), above 0.
        time: T, the time at which the variance is compared.

    Raises:
        RequestError: an argument is out of range.
    """
    Bound(low=0, open_low=True).check("fall", fall)
    check_names("noise", noises, NOISES)
    words = {"root": "noise σ√η, as in the chapter", "proportional": "noise ση, as in SGD"}
    falls = {"constant": 0.0, "hyperbolic": fall}
    solved = {
        noise: {name: _integrate(beta, noise, time) for name, beta in falls.items()}
        for noise in NOISES
    }
    limits = {
        f"{noise}_{name}": float(values[-1])
        for noise, curves in solved.items()
        for name, (_, values) in curves.items()
    }
    lower = {
        noise: limits[f"{noise}_hyperbolic"] < 0.99 * limits[f"{noise}_constant"]
        for noise in NOISES
    }
    return Finding(
        cases={words[noise]: lower[noise] for noise in noises},
        figures=limits,
        panels=tuple(
            Panel(
                title=words[noise],
                x="time",
                y="variance",
                lines=tuple(
                    Line(label=name, x=tuple(times), y=tuple(values))
                    for name, (times, values) in curves.items()
                ),
                log_y=noise != "root",
            )
            for noise, curves in solved.items()
        ),
        variants={words[noise]: lower[noise] for noise in NOISES if noise not in noises},
    )


def _integrate(fall: float, noise: str, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Integrate dV/dt = -2aηV + s² from time 0, by an eighth-order Runge-Kutta method."""
    from scipy import integrate  # importing it takes 0.3 s

    def slope(t: float, v: np.ndarray) -> np.ndarray:
        rate = RATE / (1 + fall * t)
        return -2 * PULL * rate * v + NOISE**2 * (rate if noise == "root" else rate**2)

    grid = np.linspace(0, time, 201)
    solved = integrate.solve_ivp(
        slope, (0, time), [START], method="DOP853", t_eval=grid, rtol=1e-10, atol=1e-13
    )
    return grid, np.asarray(solved.y[0])
