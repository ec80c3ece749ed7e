"""Exact expected loss of noisy gradient descent on a quadratic, for many plans at once.

The loss is ½ Σ h_i (θ_i-θ*_i)²; its modes are independent. Every optimizer here is linear in its
state, so the moments of the state follow an exact recursion, without sampling and seeds. The state
of a mode is (δ, v, e, 1): the deviation δ = θ-θ*, the velocity, the moving average of the
iterates, and the constant 1, each only if it is needed. `_advance_moments` advances the second
moments of this state for all optimizers; plain SGD, which needs only E[δ²], has a fast path.

There are two noise models, because they favour different schedules. **additive**: the minibatch
gradient of mode i has the variance c_i/B everywhere (the noisy quadratic model, Zhang et al. 2019,
arXiv 1907.04164). **multiplicative**: it has the variance κ·h_i·Σ_j h_j E[δ_j²] with
κ = 1/B - 1/D at the point where the gradient is taken, and vanishes at the optimum (least squares
in the interpolation regime; the linear-regression workload of Naganuma et al. 2026, arXiv
2603.10301). This is the limit of large D: the loss under true minibatches at D = 256 and B = 4 is
5 to 6 % higher.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrsearch.bounds import Bound
from lrsearch.errors import RequestError
from lrsearch.plan import Plan

Array = NDArray[np.float64]
#: Coefficients of a linear combination of state variables; "noise" is the gradient noise.
Form = dict[str, Array | float]

NOISES = ("additive", "multiplicative")
FORMS = ("torch", "classical")

#: Plans times modes that are advanced together; a block of this size stays in the cache.
BLOCK_ELEMENTS = 8192


def _vector(value: ArrayLike, modes: int, name: str) -> Array:
    array = np.broadcast_to(np.asarray(value, dtype=np.float64), (modes,)).copy()
    if not np.isfinite(array).all():
        raise RequestError(
            f"{name} of a quadratic has values {array.tolist()[:3]}…; give finite numbers"
        )
    return array


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadratic:
    """A quadratic problem with gradient noise.

    Attributes:
        curvature: h, shape `[D]`, above 0, in loss per parameter squared.
        noise: `additive` or `multiplicative`.
        variance: c, the gradient variance per sample, shape `[D]` (additive only); None means
            c = h.
        start: E[δ²] before the first step, shape `[D]`.
        start_mean: E[δ] before the first step, shape `[D]`; used only with weight decay.
        target: θ*, shape `[D]`; used only with weight decay, which pulls towards 0.

    Raises:
        RequestError: a curvature is not above 0, or a number is not finite.
    """

    curvature: Array
    noise: str = "additive"
    variance: Array | None = None
    start: Array = field(default_factory=lambda: np.ones(1))
    start_mean: Array = field(default_factory=lambda: np.zeros(1))
    target: Array = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        Bound(kind="name", names=NOISES).check("noise", self.noise)
        modes = len(self.curvature)
        for name in ("curvature", "start", "start_mean", "target"):
            object.__setattr__(self, name, _vector(getattr(self, name), modes, name))
        if not modes or not (self.curvature > 0).all():
            raise RequestError(
                "curvature of a quadratic must be above 0; give one number above 0 per mode"
            )
        variance = self.curvature if self.variance is None else self.variance
        object.__setattr__(self, "variance", _vector(variance, modes, "variance"))

    @property
    def modes(self) -> int:
        """D, the number of independent modes."""
        return len(self.curvature)

    @property
    def largest_rate(self) -> float:
        """2/λ_max, above which gradient descent diverges even without noise."""
        return 2.0 / float(self.curvature.max())

    @property
    def initial_loss(self) -> float:
        """½ Σ h_i E[δ_i²] before the first step."""
        return 0.5 * float(self.curvature @ self.start)

    def noise_law(self, batch: Array) -> tuple[Array, Array]:
        """Return the factors of the variance of the gradient noise.

        Args:
            batch: B, of any shape.

        Returns:
            a scale of the shape of `batch` and a profile of shape `[D]`. The variance of mode i is
            scale·profile_i, and for multiplicative noise this times Σ_j h_j E[δ_j²].

        Raises:
            RequestError: the noise is multiplicative and a batch is larger than D, the number of
                samples.
        """
        if self.noise == "additive":
            return 1.0 / batch, np.asarray(self.variance)
        if batch.max() > self.modes:
            raise RequestError(
                f"batch {int(batch.max())} exceeds the {self.modes} samples of a quadratic with "
                f"{self.modes} modes and multiplicative noise; lower batch or batch_growth"
            )
        return 1.0 / batch - 1.0 / self.modes, self.curvature


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """The update rule of an optimizer.

    Attributes:
        form: form of momentum: `torch` (v ← μv + g, θ ← θ - ηv; the rate is not in the buffer) or
            `classical` (v ← μv - ηg, θ ← θ + v). The two differ if the rate changes.
        nesterov: True for Nesterov's momentum, False for the heavy ball.
        weight_decay: coefficient of θ in the gradient (coupled decay).
        ema: ρ of the moving average e ← ρe + (1-ρ)θ, whose loss is then reported; 0 means none.
    """

    form: str = "torch"
    nesterov: bool = False
    weight_decay: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        Bound(kind="name", names=FORMS).check("form", self.form)
        Bound(low=0).check("weight_decay", self.weight_decay)
        Bound(low=0, high=1, open_high=True).check("ema", self.ema)


SGD = Optimizer()


def lr_ref(modes: int = 256) -> Quadratic:
    """Return the reference least-squares problem.

    λ_i ∝ 1/i normalised to sum 1, multiplicative noise, initial loss ½. With 256 modes, batch 4
    and 200 steps the best possible loss over all schedules is 0.1458987.
    """
    h = 1.0 / np.arange(1, modes + 1)
    h /= h.sum()
    return Quadratic(curvature=h, noise="multiplicative", start=1.0 / (modes * h))


def noisy_quadratic(modes: int = 10_000) -> Quadratic:
    """Return the noisy quadratic model of Zhang et al. 2019.

    h_i = 1/i, c = h, θ ~ N(0, 1) before the first step, θ* = 0.
    """
    return Quadratic(curvature=1.0 / np.arange(1, modes + 1))


def expected_loss(
    problem: Quadratic, plans: Sequence[Plan], optimizer: Optimizer = SGD
) -> list[Array]:
    """Return the exact expected loss before every step and after the last, for every plan.

    Args:
        problem: the quadratic.
        plans: any number of plans; plans of equal length are advanced together.
        optimizer: the update rule.

    Returns:
        one array of shape `[len(plan) + 1]` per plan. If the expectation overflows, the loss is
        +inf from there to the end, never NaN, and other plans are not affected.

    Raises:
        RequestError: the noise is multiplicative and a batch is larger than the number of samples.
    """
    curves: list[Array] = [np.empty(0)] * len(plans)
    block_size = max(1, BLOCK_ELEMENTS // problem.modes)
    for length in {len(plan) for plan in plans}:
        same = [i for i, plan in enumerate(plans) if len(plan) == length]
        for block in (same[i : i + block_size] for i in range(0, len(same), block_size)):
            lr = np.stack([plans[i].lr for i in block], axis=1)
            batch = np.stack([plans[i].batch for i in block], axis=1).astype(np.float64)
            mu = np.stack([plans[i].momentum for i in block], axis=1)
            with np.errstate(over="ignore", invalid="ignore"):
                losses = _advance(problem, lr, batch, mu, optimizer)
            losses[np.logical_or.accumulate(~np.isfinite(losses), axis=0)] = np.inf
            for column, i in enumerate(block):
                curves[i] = losses[:, column].copy()
    return curves


def _advance(problem: Quadratic, lr: Array, batch: Array, mu: Array, opt: Optimizer) -> Array:
    """Return losses of shape `[T+1, P]` for rates, batches and momenta of shape `[T, P]`."""
    if mu.any() or opt.ema or (opt.weight_decay and problem.target.any()):
        return _advance_moments(problem, lr, batch, mu, opt)
    return _advance_sgd(problem, lr, batch, opt.weight_decay)


def _advance_sgd(problem: Quadratic, lr: Array, batch: Array, weight_decay: float) -> Array:
    """Advance A = E[δ²] of plain SGD in place: A ← (1-η(h+wd))²A + η²·noise."""
    h = problem.curvature
    scale, profile = problem.noise_law(batch)
    multiplicative = problem.noise == "multiplicative"
    pull = -(h + weight_decay)
    a = np.repeat(problem.start[None], lr.shape[1], axis=0)
    keep, kick = np.empty_like(a), np.empty_like(a)
    # One dot product per row instead of one matrix product: the rounding of a plan's loss must not
    # depend on the other plans.
    losses = np.empty((len(lr) + 1, lr.shape[1]))
    for t, rate in enumerate(lr):
        losses[t] = np.vecdot(a, h)
        strength = rate * rate * scale[t]
        if multiplicative:
            strength *= losses[t]
        np.multiply.outer(rate, pull, out=keep)
        keep += 1.0
        keep *= keep
        a *= keep
        np.multiply.outer(strength, profile, out=kick)
        a += kick
    losses[-1] = np.vecdot(a, h)
    return np.asarray(0.5 * losses)


def _forms(h: Array, rate: Array, mu: Array, target: Array, opt: Optimizer) -> dict[str, Form]:
    """Return the linear update of every state variable and the point of the gradient."""
    here: Form = {"δ": 1.0}
    ahead = opt.nesterov and opt.form == "classical"
    point = _sum((1.0, here), (mu, {"v": 1.0})) if ahead else here
    decay: Form = {"δ": opt.weight_decay, "1": opt.weight_decay * target}
    if ahead:
        decay = _sum((opt.weight_decay, point), (1.0, {"1": opt.weight_decay * target}))
    gradient = _sum((h, point), (1.0, decay), (1.0, {"noise": 1.0}))
    if opt.form == "classical":
        velocity = _sum((mu, {"v": 1.0}), (-rate, gradient))
        moved = _sum((1.0, here), (1.0, velocity))
    else:
        velocity = _sum((mu, {"v": 1.0}), (1.0, gradient))
        direction = _sum((1.0, gradient), (mu, velocity)) if opt.nesterov else velocity
        moved = _sum((1.0, here), (-rate, direction))
    average = _sum((opt.ema, {"e": 1.0}), (1.0 - opt.ema, moved))
    return {"δ": moved, "v": velocity, "e": average, "1": {"1": 1.0}, "point": point}


def _sum(*terms: tuple[Array | float, Form]) -> Form:
    """Return Σ factor·form."""
    total: Form = {}
    for factor, form in terms:
        for name, coefficient in form.items():
            total[name] = total.get(name, 0.0) + factor * coefficient
    return total


def _second_moment(
    left: Form, right: Form, moments: dict[frozenset[str], Array], noise: Array | float
) -> Array:
    """Return E[left·right] for independent noise of the given variance."""
    total: Array = np.zeros(1)
    for (a, x), (b, y) in itertools.product(left.items(), right.items()):
        # The noise of a step is independent of the state before the step.
        if (a == "noise") == (b == "noise"):
            total = total + x * y * (noise if a == "noise" else moments[frozenset((a, b))])
    return total


def _advance_moments(
    problem: Quadratic, lr: Array, batch: Array, mu: Array, opt: Optimizer
) -> Array:
    """Advance the second moments S of the state of any optimizer: S ← F S Fᵀ + noise."""
    h = problem.curvature
    scale, profile = problem.noise_law(batch)
    state = ["δ", "v", *(["e"] if opt.ema else []), "1"]
    shape = (lr.shape[1], problem.modes)
    known = {
        frozenset("δ"): problem.start,
        frozenset("δ1"): problem.start_mean,
        frozenset("1"): np.ones(1),
    }
    moments: dict[frozenset[str], Array] = {}
    for a, b in itertools.combinations_with_replacement(state, 2):
        # The velocity starts at 0, the moving average at the first iterate.
        first = known.get(frozenset((a + b).replace("e", "δ")), np.zeros(1))
        moments[frozenset((a, b))] = np.broadcast_to(first, shape).copy()
    reported = frozenset("e" if opt.ema else "δ")
    losses = np.empty((len(lr) + 1, lr.shape[1]))
    for t in range(len(lr)):
        losses[t] = np.vecdot(moments[reported], h)
        forms = _forms(h, lr[t][:, None], mu[t][:, None], problem.target, opt)
        noise = scale[t][:, None] * profile
        if problem.noise == "multiplicative":
            point = forms["point"]
            noise = noise * np.vecdot(_second_moment(point, point, moments, 0.0), h)[:, None]
        moments = {
            pair: _second_moment(forms[min(pair)], forms[max(pair)], moments, noise)
            for pair in moments
        }
    losses[-1] = np.vecdot(moments[reported], h)
    return np.asarray(0.5 * losses)
