"""Margins of linear classifiers, and how far they point from the support vector machine's.

On separable data gradient descent on the logistic loss turns towards the direction of the
largest margin, at a rate of about 1/log of the sum of the learning rates (Soudry et al. 2018,
arXiv 1710.10345). The truth is the hard-margin machine *without* intercept on inputs that carry a
1 where the classifier has a bias: gradient descent pulls on the bias as on any weight, and an
intercept that is free of the norm would have another direction.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

Array = NDArray[np.float64]

#: The penalty of a violated margin: large enough that separable data are separated.
HARD = 1e6
#: Rounds of the machine's solver, and numbers in the linear program, beyond which nothing is said.
ITERATIONS, LARGEST = 100_000, 2_000_000


def svm_direction(inputs: ArrayLike, labels: ArrayLike) -> Array | None:
    """The direction of the largest margin, of norm 1.

    None where no linear classifier separates the data, which a linear program decides, and where
    that program or the machine would take long.

    Args:
        inputs: shape `[N, d]`, a column of ones among them where there is a bias.
        labels: whole numbers from 0, shape `[N]`, of at least two classes.

    Returns:
        weights of shape `[C, d]` whose sum over the classes is 0, by Crammer & Singer for more
        than two classes.
    """
    x, y = np.asarray(inputs, dtype=np.float64), np.asarray(labels)
    if not _separable(x, y):
        return None
    several = len(np.unique(y)) > 2
    machine = LinearSVC(
        loss="hinge",
        C=HARD,
        fit_intercept=False,
        multi_class="crammer_singer" if several else "ovr",
        max_iter=ITERATIONS,
        tol=1e-8,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            machine.fit(x, y)
        except ConvergenceWarning:
            return None
    weights = machine.coef_ if several else np.stack([-machine.coef_[0], machine.coef_[0]])
    weights = weights - weights.mean(0)
    weights = weights / np.linalg.norm(weights)
    return np.asarray(weights) if margins(weights[None], x, y)[0] > 0 else None


def _separable(x: Array, y: NDArray[np.int64]) -> bool:
    """Whether weights W exist with (W_y - W_k)·x ≥ 1 for every sample and other class k."""
    from scipy import optimize, sparse  # 0.3 s of import

    known, places = np.unique(y, return_inverse=True)
    classes, (samples, features) = len(known), x.shape
    if samples * (classes - 1) * features > LARGEST:
        return False
    rows = []
    for shift in range(1, classes):  # every sample against its class and one other
        rival = (places + shift) % classes
        row = np.arange(samples)[:, None]
        for place, sign in ((places, -1.0), (rival, 1.0)):
            columns = place[:, None] * features + np.arange(features)
            rows.append((sign * x, np.broadcast_to(row, x.shape) + (shift - 1) * samples, columns))
    data, index, columns = (np.concatenate([part[i].ravel() for part in rows]) for i in range(3))
    shape = (samples * (classes - 1), classes * features)
    matrix = sparse.csr_array((data, (index, columns)), shape=shape)
    solved = optimize.linprog(
        np.zeros(shape[1]), matrix, -np.ones(shape[0]), bounds=(None, None), method="highs"
    )
    return bool(solved.status == 0)


def margins(weights: ArrayLike, inputs: ArrayLike, labels: ArrayLike) -> Array:
    """The least lead of the right class over any other, over the norm of the weights; `[A]`.

    Negative where a sample is classified wrongly. Only differences between classes count, so the
    weights' mean over the classes is taken out before their norm.

    Args:
        weights: of A classifiers, shape `[A, C, d]`.
        inputs: shape `[N, d]`.
        labels: shape `[N]`.
    """
    w, y = _centred(weights), np.asarray(labels)
    scores = np.asarray(inputs, dtype=np.float64) @ np.swapaxes(w, 1, 2)  # [A, N, C]
    right = np.take_along_axis(scores, np.broadcast_to(y[None, :, None], (len(w), len(y), 1)), 2)
    rivals = np.where(np.arange(w.shape[1]) == y[None, :, None], -np.inf, scores).max(2)
    norm = np.linalg.norm(w, axis=(1, 2))
    lead = (right[..., 0] - rivals).min(1)
    return np.asarray(np.divide(lead, norm, out=np.zeros_like(lead), where=norm > 0))


def direction_angle(weights: ArrayLike, direction: Array) -> Array:
    """Angles between classifiers and a direction, in radians, shape `[A]`.

    Args:
        weights: shape `[A, C, d]`.
        direction: from `svm_direction`, shape `[C, d]`.
    """
    w = _centred(weights)
    norm = np.linalg.norm(w, axis=(1, 2))
    unit = np.divide(w, norm[:, None, None], out=np.zeros_like(w), where=norm[:, None, None] > 0)
    # By the chord, not the cosine, which cannot tell angles below 1e-8 from 0.
    chord = np.linalg.norm(unit - direction, axis=(1, 2))
    return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def _centred(weights: ArrayLike) -> Array:
    w = np.asarray(weights, dtype=np.float64)
    return np.asarray(w - w.mean(1, keepdims=True))
