"""Margins of linear classifiers, and their angles to the support vector machine's direction.

On separable data, gradient descent on the logistic loss turns towards the direction of the largest
margin, at a rate of about 1/log of the sum of the learning rates (Soudry et al. 2018, arXiv
1710.10345). The reference is the hard-margin machine *without* intercept. If the classifier has a
bias, the inputs get a constant column of 1, because gradient descent treats the bias like any
weight. A machine whose intercept is not part of the norm would have another direction.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

Array = NDArray[np.float64]

#: Penalty of margin violations, large enough that separable data are separated.
HARD = 1e6
#: Largest number of iterations of the machine's solver, and of numbers in the linear program.
#: Beyond them there is no direction.
ITERATIONS, LARGEST = 100_000, 2_000_000


def svm_direction(inputs: ArrayLike, labels: ArrayLike) -> Array | None:
    """Return the direction of the largest margin, with norm 1, or None.

    The result is None if no linear classifier separates the data, which a linear program decides,
    or if that program or the machine would take too long.

    Args:
        inputs: shape `[N, d]`, with a column of ones if the classifier has a bias.
        labels: class indices, integers from 0, shape `[N]`, of at least two classes.

    Returns:
        Weights of shape `[C, d]` whose sum over the classes is 0, or None. With more than two
        classes they are those of Crammer and Singer.
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
    """Return True if weights W with (W_y - W_k)·x ≥ 1 exist for all samples and classes k ≠ y."""
    from scipy import optimize, sparse  # the import takes 0.3 s

    known, places = np.unique(y, return_inverse=True)
    classes, (samples, features) = len(known), x.shape
    if samples * (classes - 1) * features > LARGEST:
        return False
    rows = []
    for shift in range(1, classes):  # for every sample, its class and one other class
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
    """Return the smallest lead of the correct class's score, over the norm of the weights.

    The lead over the best other class is negative if a sample is classified wrongly. Only
    differences between classes matter, so the mean of the weights over the classes is subtracted.

    Args:
        weights: weights of A classifiers, shape `[A, C, d]`.
        inputs: shape `[N, d]`.
        labels: class indices, shape `[N]`.

    Returns:
        The margins, shape `[A]`.
    """
    w, y = _centred(weights), np.asarray(labels)
    scores = np.asarray(inputs, dtype=np.float64) @ np.swapaxes(w, 1, 2)  # [A, N, C]
    right = np.take_along_axis(scores, np.broadcast_to(y[None, :, None], (len(w), len(y), 1)), 2)
    rivals = np.where(np.arange(w.shape[1]) == y[None, :, None], -np.inf, scores).max(2)
    norm = np.linalg.norm(w, axis=(1, 2))
    lead = (right[..., 0] - rivals).min(1)
    return np.asarray(np.divide(lead, norm, out=np.zeros_like(lead), where=norm > 0))


def direction_angle(weights: ArrayLike, direction: Array) -> Array:
    """Return the angles between classifiers and a direction, in radians, shape `[A]`.

    Args:
        weights: weights of A classifiers, shape `[A, C, d]`.
        direction: direction from `svm_direction`, shape `[C, d]`.
    """
    w = _centred(weights)
    norm = np.linalg.norm(w, axis=(1, 2))
    unit = np.divide(w, norm[:, None, None], out=np.zeros_like(w), where=norm[:, None, None] > 0)
    # Computed from the chord: the cosine cannot distinguish angles below 1e-8 from 0.
    chord = np.linalg.norm(unit - direction, axis=(1, 2))
    return np.asarray(2 * np.arcsin(np.clip(chord / 2, 0, 1)))


def _centred(weights: ArrayLike) -> Array:
    w = np.asarray(weights, dtype=np.float64)
    return np.asarray(w - w.mean(1, keepdims=True))
