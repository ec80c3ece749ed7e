"""Margins, compared with libsvm and with a solution of the quadratic program."""

import numpy as np
import pytest
from scipy import optimize
from sklearn.svm import SVC

from lrsearch.diagnostics.svm_margin import direction_angle, margins, svm_direction
from lrsearch.seeding import stream


def two_classes(seed=0):
    """Return separable points that are symmetric about 0, so that an intercept would be 0."""
    draw = stream(seed, "points")
    right = draw.standard_normal((20, 2)) + np.array([4.0, 1.0])
    return np.r_[right, -right], np.r_[np.ones(20, int), np.zeros(20, int)]


def test_the_direction_of_two_classes_matches_libsvm_on_symmetric_data():
    x, y = two_classes()
    other = SVC(kernel="linear", C=1e6, tol=1e-8).fit(x, y)
    assert abs(other.intercept_[0]) < 1e-5
    mine, theirs = svm_direction(x, y), other.coef_[0] / np.linalg.norm(other.coef_[0])
    assert np.allclose(mine[1] - mine[0], np.sqrt(2) * theirs, atol=1e-4)
    assert np.allclose(mine.sum(0), 0)


def test_the_direction_of_three_classes_solves_the_quadratic_program():
    """min ½‖W‖² with (W_y - W_k)·x ≥ 1 for every sample and every other class."""
    draw = stream(1, "three")
    centres = 4 * np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    y = np.repeat([0, 1, 2], 6)
    x = centres[y] + 0.4 * draw.standard_normal((18, 2))

    def leads(flat):
        scores = x @ flat.reshape(3, 2).T
        return np.concatenate(
            [scores[i, y[i]] - np.delete(scores[i], y[i]) - 1 for i in range(len(y))]
        )

    solved = optimize.minimize(
        lambda w: 0.5 * w @ w,
        0.1 * centres.ravel(),
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": leads},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert solved.success
    theirs = solved.x.reshape(3, 2)
    mine = svm_direction(x, y)
    assert direction_angle(theirs[None], mine)[0] < 1e-3
    best = margins(theirs[None], x, y)[0]
    assert margins(mine[None], x, y)[0] == pytest.approx(best, rel=1e-3)


def test_no_direction_has_a_larger_margin():
    x, y = two_classes(2)
    best = svm_direction(x, y)
    others = stream(2, "others").standard_normal((500, 2, 2))
    assert (margins(others, x, y) <= margins(best[None], x, y)[0] * (1 + 1e-6)).all()


def test_data_that_are_not_separable_have_no_direction():
    x, y = two_classes()
    y[0] = 0
    assert svm_direction(x, y) is None


def test_a_margin_is_the_distance_to_the_boundary_and_does_not_depend_on_scale():
    """Two classes: lead over the norm of the centred weights is √2 times the distance."""
    x, y = np.array([[3.0, 0.0], [-2.0, 5.0]]), np.array([1, 0])
    weights = np.array([[-1.0, 0.0], [1.0, 0.0]])
    assert margins(np.stack([weights, 9 * weights, weights + 7]), x, y) == pytest.approx(
        [2 * np.sqrt(2)] * 3
    )
    assert margins(-weights[None], x, y)[0] < 0
    assert margins(np.zeros((1, 2, 2)), x, y)[0] == 0


def test_tiny_angles_are_exact():
    direction = np.array([[-1.0, 0.0], [1.0, 0.0]]) / np.sqrt(2)
    for angle in (1e-9, 0.1, 1.0, np.pi / 2, np.pi):
        turn = np.array([np.cos(angle), np.sin(angle)])
        found = direction_angle(5 * np.stack([-turn, turn])[None], direction)[0]
        assert found == pytest.approx(angle, rel=1e-6)
