"""A Gaussian process in NumPy: kernel, fit of its hyperparameters, posterior that grows by rows.

The kernel is Matérn 5/2 with one length per dimension. Hyperparameters are the maximum of the
marginal likelihood times log-normal priors, found by L-BFGS with the analytic gradient: one
Cholesky factorization and O(n²·d) for the gradient (Rasmussen and Williams 2006, chapter 5). The
median of the lengths' prior grows with the square root of the number of dimensions (Hvarfner,
Hellsten and Nardi 2024, arXiv 2402.02229), but is shorter than theirs, and narrower: with theirs,
searches of schedules stop in local optima more often (measured by `tests/bench/samplers.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

#: Prior of the logarithms of the lengths: mean for one dimension, and standard deviation.
LENGTH = (-0.9, 0.7)
#: Priors of the logarithms of the variances of signal and noise, in units of the variance of the
#: values: mean and standard deviation. Conventions; others brought no gain.
SIGNAL, NOISE = (0.0, 1.0), (-4.0, 1.0)
#: Variance of the noise of exact values, which keeps the matrices invertible.
EXACT_NOISE = 1e-6
#: Most steps of L-BFGS in a fit.
FIT_STEPS = 60
ROOT5 = math.sqrt(5.0)


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of the process, as logarithms.

    Attributes:
        lengths: one per dimension, shape `[d]`.
        signal: variance of the signal.
        noise: variance of the noise.
    """

    lengths: np.ndarray
    signal: float
    noise: float

    @classmethod
    def usual(cls, dimensions: int, *, exact: bool) -> Hyperparameters:
        """Return the means of the priors."""
        lengths = np.full(dimensions, LENGTH[0] + 0.5 * math.log(dimensions))
        return cls(lengths, SIGNAL[0], math.log(EXACT_NOISE) if exact else NOISE[0])


def kernel(x: np.ndarray, z: np.ndarray, of: Hyperparameters) -> np.ndarray:
    """Return the covariances of the signal between two sets of points, shape `[n, m]`."""
    r = _distances(x, z, of)
    return math.exp(of.signal) * (1 + r * (ROOT5 + (5 / 3) * r)) * np.exp(-ROOT5 * r)


def _distances(x: np.ndarray, z: np.ndarray, of: Hyperparameters) -> np.ndarray:
    scale = np.exp(-of.lengths)
    a, b = x * scale, z * scale
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * (a @ b.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def fit(x: np.ndarray, y: np.ndarray, start: Hyperparameters, *, exact: bool) -> Hyperparameters:
    """Return the most probable hyperparameters.

    Args:
        x: points in the unit cube, shape `[n, d]`.
        y: values with mean 0 and variance 1, shape `[n]`.
        start: where the search begins.
        exact: True if values have no noise.
    """
    n, d = x.shape
    apart = (x[:, None, :] - x[None, :, :]) ** 2  # [n, n, d]
    mean = LENGTH[0] + 0.5 * math.log(d)
    identity = np.eye(n)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        lengths, signal = theta[:d], theta[d]
        noise = math.log(EXACT_NOISE) if exact else theta[d + 1]
        squares = apart @ np.exp(-2 * lengths)
        r = np.sqrt(squares)
        decay = math.exp(signal) * np.exp(-ROOT5 * r)
        covariance = decay * (1 + ROOT5 * r + (5 / 3) * squares)
        whole = covariance + math.exp(noise) * identity
        try:
            factor = linalg.cholesky(whole, lower=True, check_finite=False)
        except linalg.LinAlgError:
            return 1e25, np.zeros_like(theta)  # too close to singular
        inverse = linalg.lapack.dpotri(factor, lower=True)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        alpha = inverse @ y
        value: float = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor)).sum())
        outer = 0.5 * (inverse - alpha[:, None] * alpha[None, :])  # d value / d covariance
        # d k / d log length_i = signal·(5/3)·(1 + √5 r)·exp(-√5 r)·(Δ_i / length_i)²
        common = outer * ((5 / 3) * decay * (1 + ROOT5 * r))
        slopes = np.tensordot(common, apart, axes=([0, 1], [0, 1])) * np.exp(-2 * lengths)
        gradient = [*slopes, float((outer * covariance).sum())]
        value += 0.5 * float((((lengths - mean) / LENGTH[1]) ** 2).sum())
        gradient[:d] = [
            g + (v - mean) / LENGTH[1] ** 2 for g, v in zip(slopes, lengths, strict=True)
        ]
        value += float(0.5 * ((signal - SIGNAL[0]) / SIGNAL[1]) ** 2)
        gradient[d] += (signal - SIGNAL[0]) / SIGNAL[1] ** 2
        if not exact:
            value += float(0.5 * ((noise - NOISE[0]) / NOISE[1]) ** 2)
            slope = math.exp(noise) * float(np.trace(outer))
            gradient.append(slope + (noise - NOISE[0]) / NOISE[1] ** 2)
        return value, np.asarray(gradient)

    first = np.r_[start.lengths, start.signal, *(() if exact else (start.noise,))]
    bounds = [(math.log(0.01), math.log(100.0))] * d + [(-6.0, 6.0)] + [(-12.0, 3.0)] * (not exact)
    found = optimize.minimize(
        loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": FIT_STEPS}
    ).x
    return Hyperparameters(found[:d], float(found[d]), start.noise if exact else float(found[-1]))


class Posterior:
    """The process given values, to which points without a value can be added.

    Args:
        x: points, shape `[n, d]`.
        y: values, shape `[n]`.
        of: hyperparameters.
        pending: points without a value, shape `[m, d]`. They are believed to have their posterior
            mean, which leaves the mean unchanged and narrows the variance ("kriging believer";
            Ginsbourger, Le Riche and Carraro 2010).
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, of: Hyperparameters, pending: np.ndarray
    ) -> None:
        self._of, self._known = of, len(x)
        self._x = np.concatenate([x, pending])
        noise = math.exp(of.noise)
        whole = kernel(self._x, self._x, of)
        whole[np.diag_indices_from(whole)] += noise
        self._factor = linalg.cholesky(whole, lower=True, check_finite=False)
        n = self._known
        self._alpha = linalg.cho_solve((self._factor[:n, :n], True), y, check_finite=False)

    @property
    def points(self) -> np.ndarray:
        """All points, those with values first."""
        return self._x

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Return the posterior mean at some points, shape `[m]`."""
        return np.asarray(kernel(x, self._x[: self._known], self._of) @ self._alpha)

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of the signal, shape `[m]` each."""
        across = kernel(x, self._x, self._of)
        mean = across[:, : self._known] @ self._alpha
        solved = linalg.solve_triangular(
            self._factor, across.T, lower=True, check_finite=False, overwrite_b=True
        )
        variance = math.exp(self._of.signal) - np.einsum("ij,ij->j", solved, solved)
        return mean, np.sqrt(np.maximum(variance, 1e-12))

    def slopes(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return mean and deviation as `predict` does, and their gradients, shape `[m, d]`."""
        of = self._of
        r = _distances(x, self._x, of)
        decay = math.exp(of.signal) * np.exp(-ROOT5 * r)
        across = decay * (1 + r * (ROOT5 + (5 / 3) * r))
        # d k / d x = -(5/3)·signal·(1 + √5 r)·exp(-√5 r)·(x - z) / length²
        common = -(5 / 3) * decay * (1 + ROOT5 * r)  # [m, n]
        apart = (x[:, None, :] - self._x[None, :, :]) * np.exp(-2 * of.lengths)  # [m, n, d]
        gradient = common[:, :, None] * apart
        mean = across[:, : self._known] @ self._alpha
        solved = linalg.cho_solve((self._factor, True), across.T, check_finite=False)  # [n, m]
        variance = np.maximum(math.exp(of.signal) - np.einsum("ij,ji->i", across, solved), 1e-12)
        deviation = np.sqrt(variance)
        mean_slope = np.einsum("mnd,n->md", gradient[:, : self._known], self._alpha)
        slope = -np.einsum("mnd,nm->md", gradient, solved) / deviation[:, None]
        return mean, deviation, mean_slope, slope

    def add(self, x: np.ndarray) -> None:
        """Add one point without a value, shape `[d]`."""
        row = kernel(x[None, :], self._x, self._of)[0]
        last = linalg.solve_triangular(self._factor, row, lower=True, check_finite=False)
        own = math.exp(self._of.signal) + math.exp(self._of.noise) - float(last @ last)
        n = len(self._x)
        factor = np.zeros((n + 1, n + 1), order="F")
        factor[:n, :n], factor[n, :n] = self._factor, last
        factor[n, n] = math.sqrt(max(own, EXACT_NOISE * 1e-3))
        self._factor, self._x = factor, np.concatenate([self._x, x[None, :]])
