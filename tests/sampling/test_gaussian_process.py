"""The Gaussian process: its parts against direct formulas, and its blocks."""

import math

import numpy as np
import pytest
from scipy import integrate, linalg, optimize, stats

from lrsearch.ranges import Choices, Range
from lrsearch.sampling import gaussian_process, surrogate
from lrsearch.sampling.expected_improvement import log_improvement
from lrsearch.sampling.gaussian_process import BlockProcess
from lrsearch.sampling.sampler import History, Problem
from lrsearch.sampling.surrogate import Hyperparameters, Posterior, fit, kernel
from lrsearch.sampling.unit_cube import UnitCube
from lrsearch.seeding import stream
from lrsearch.space import Space
from tests.sampling.test_samplers import SPACE, ended

RNG = stream(0, "tests")
X = RNG.random((25, 3))
Y = np.sin(5 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * RNG.normal(size=25)
Y = (Y - Y.mean()) / Y.std()
OF = Hyperparameters(np.log([0.3, 0.8, 2.0]), 0.2, -3.0)


def matern(a, b):
    """Return the covariance of two points, directly."""
    r = math.sqrt(
        sum(((p - q) / length) ** 2 for p, q, length in zip(a, b, (0.3, 0.8, 2.0), strict=True))
    )
    root = math.sqrt(5) * r
    return math.exp(0.2) * (1 + root + root**2 / 3) * math.exp(-root)


def test_the_kernel_is_matern_5_2():
    direct = [[matern(a, b) for b in X[:7]] for a in X[7:12]]
    np.testing.assert_allclose(kernel(X[7:12], X[:7], OF), direct, rtol=1e-10)


def posterior_of(theta, exact=False):
    """Return the negative logarithm of likelihood times priors, up to a constant."""
    lengths, signal = theta[:3], theta[3]
    noise = math.log(surrogate.EXACT_NOISE) if exact else theta[4]
    of = Hyperparameters(np.asarray(lengths), signal, noise)
    whole = kernel(X, X, of) + math.exp(noise) * np.eye(len(X))
    value = -stats.multivariate_normal.logpdf(Y, np.zeros(len(X)), whole, allow_singular=True)
    mean = surrogate.LENGTH[0] + 0.5 * math.log(3)
    value -= stats.norm.logpdf(lengths, mean, surrogate.LENGTH[1]).sum()
    value -= stats.norm.logpdf(signal, *surrogate.SIGNAL)
    return value if exact else value - stats.norm.logpdf(noise, *surrogate.NOISE)


@pytest.mark.parametrize("exact", [False, True])
def test_the_fit_is_the_most_probable_one(exact):
    usual = Hyperparameters.usual(3, exact=exact)
    found = fit(X, Y, usual, exact=exact)
    theta = np.r_[found.lengths, found.signal, *(() if exact else (found.noise,))]
    slope = optimize.approx_fprime(theta, posterior_of, 1e-6, exact)
    assert np.abs(slope).max() < 0.02
    first = np.r_[usual.lengths, usual.signal, *(() if exact else (usual.noise,))]
    assert posterior_of(theta, exact) < posterior_of(first, exact)


def test_the_posterior_is_that_of_the_formulas():
    at = RNG.random((6, 3))
    whole = kernel(X, X, OF) + math.exp(-3.0) * np.eye(len(X))
    across = kernel(at, X, OF)
    mean = across @ linalg.solve(whole, Y)
    variance = math.exp(0.2) - np.einsum("ij,ji->i", across, linalg.solve(whole, across.T))
    made = Posterior(X, Y, OF, np.empty((0, 3)))
    np.testing.assert_allclose(made.predict(at)[0], mean, rtol=1e-9)
    np.testing.assert_allclose(made.predict(at)[1], np.sqrt(variance), rtol=1e-9)


def test_pending_points_narrow_the_variance_and_leave_the_mean():
    at, pending = RNG.random((6, 3)), RNG.random((4, 3))
    plain = Posterior(X, Y, OF, np.empty((0, 3)))
    believed = Posterior(X, Y, OF, pending)
    np.testing.assert_allclose(believed.mean(at), plain.mean(at), rtol=1e-12)
    # Values that are the posterior mean do not change the mean, and count for the variance.
    both = Posterior(
        np.concatenate([X, pending]), np.r_[Y, plain.mean(pending)], OF, np.empty((0, 3))
    )
    np.testing.assert_allclose(both.predict(at)[0], plain.mean(at), rtol=1e-7)
    np.testing.assert_allclose(both.predict(at)[1], believed.predict(at)[1], rtol=1e-9)
    for point in pending:
        plain.add(point)
    np.testing.assert_allclose(plain.predict(at)[1], believed.predict(at)[1], rtol=1e-9)
    np.testing.assert_array_equal(plain.points, believed.points)


def test_the_slopes_of_the_posterior_are_its_derivatives():
    made, at = Posterior(X, Y, OF, RNG.random((3, 3))), RNG.random((5, 3))
    mean, deviation, by_mean, by_deviation = made.slopes(at)
    np.testing.assert_allclose((mean, deviation), made.predict(at), rtol=1e-9)
    for i in range(3):
        step = 1e-6 * np.eye(3)[i]
        up, down = made.predict(at + step), made.predict(at - step)
        np.testing.assert_allclose((up[0] - down[0]) / 2e-6, by_mean[:, i], atol=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-6, by_deviation[:, i], atol=1e-6)


@pytest.mark.parametrize("mean", [-3.0, -0.5, 0.0, 0.7, 2.0, 5.0])
def test_the_improvement_is_its_integral(mean):
    def gain(x):
        return (0.4 - x) * stats.norm.pdf(x, mean, 0.8)

    whole, _ = integrate.quad(gain, mean - 12, 0.4, epsabs=0, epsrel=1e-10, points=[mean - 0.8])
    found = log_improvement(np.array([mean]), np.array([0.8]), 0.4)[0][0]
    assert found == pytest.approx(math.log(whole), rel=1e-6)


def test_the_improvement_has_a_slope_where_it_underflows():
    mean, deviation = np.array([0.5, 3.0, 50.0, 3e5]), np.full(4, 0.8)
    value, by_mean, by_deviation = log_improvement(mean, deviation, 0.4)
    assert np.isfinite(value).all()
    assert (np.diff(value) < 0).all()
    up = log_improvement(mean[:3] + 1e-5, deviation[:3], 0.4)[0]
    down = log_improvement(mean[:3] - 1e-5, deviation[:3], 0.4)[0]
    np.testing.assert_allclose((up - down) / 2e-5, by_mean[:3], rtol=1e-4)
    up = log_improvement(mean[:3], deviation[:3] + 1e-5, 0.4)[0]
    down = log_improvement(mean[:3], deviation[:3] - 1e-5, 0.4)[0]
    np.testing.assert_allclose((up - down) / 2e-5, by_deviation[:3], rtol=1e-4)


# --- The unit cube ------------------------------------------------------------------------------


def test_a_vector_is_its_point():
    cube, rng = UnitCube(SPACE), stream(1, "cube")
    assert cube.dimensions == 4 + 3
    assert cube.smooth.tolist() == [True, True, False, False, False, False, False]
    for x in cube.draw(rng, 50):
        point = cube.decode(x)
        for name, value in point.items():
            assert SPACE.free[name].holds(value), name
        np.testing.assert_allclose(cube.encode(point), x, atol=1e-9)


def test_points_near_a_centre_are_near_it():
    cube, rng = UnitCube(SPACE), stream(2, "cube")
    centre = cube.draw(rng, 1)[0]
    near = cube.draw_near(rng, 400, centre, 0.1)
    assert np.abs(near - centre)[:, cube.smooth].max() <= 0.1
    choices = (np.abs(near - centre)[:, 2:5].max(axis=1) > 0.5).mean()
    assert 0.0 < choices < 0.2


def test_different_choices_have_the_distance_one():
    cube = UnitCube(Space(name="c", entries={"decay": Choices(("cosine", "rex", "polynomial"))}))
    a, b = cube.encode({"decay": "cosine"}), cube.encode({"decay": "rex"})
    assert np.linalg.norm(a - b) == pytest.approx(1.0)


# --- Blocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "size"), [(1, 1), (4, 1), (8, 2), (16, 4), (64, 8), (65, 64), (1024, 64)]
)
def test_the_size_of_a_block_follows_from_the_slots(slots, size):
    window = 0 if slots == 1 else 2 * slots - 1
    assert BlockProcess(Problem(space=SPACE, seed=0, window=window))._size == size


@pytest.mark.parametrize("window", [0, 15, 31])
def test_a_trial_depends_only_on_outcomes_before_its_window(window):
    """Outcomes from n - W on, told in advance or not, change nothing."""
    points, known = [], {}
    sampler = BlockProcess(Problem(space=SPACE, seed=3, positive=True, window=window))
    for index in range(70):
        point = dict(sampler.ask(index, History(points=points, ended=dict(known))).point)
        fresh = BlockProcess(Problem(space=SPACE, seed=3, positive=True, window=window))
        if index in (20, 41, 69):
            least = {i: t for i, t in known.items() if i < index - window}
            assert dict(fresh.ask(index, History(points=points, ended=least)).point) == point
        points.append(point)
        known[index] = ended(index, point)


def test_a_point_is_never_asked_twice():
    space = Space(
        name="few",
        entries={"peak": 0.1, "cycles": Range(low=1, high=6), "decay": Choices(("cosine", "rex"))},
    )
    sampler = BlockProcess(Problem(space=space, seed=0, positive=True))
    points, known = [], {}
    for index in range(10):
        point = dict(sampler.ask(index, History(points=points, ended=known)).point)
        points.append(point)
        known[index] = ended(index, {"peak": 0.1, "warmup": 0.1, **point})
    later = [repr(point) for point in points[5:]]
    assert len(set(later)) == len(later)


def test_failed_and_diverged_points_are_avoided(monkeypatch):
    monkeypatch.setattr(gaussian_process, "CANDIDATES", 128)
    space = Space(name="one", entries={"peak": Range(low=1e-3, high=1.0, log=True), "warmup": 0.1})
    sampler = BlockProcess(Problem(space=space, seed=1, positive=True, untrained=2.0))
    points, known = [], {}
    from lrsearch.outcome import Outcome, Trial

    for index in range(40):
        point = dict(sampler.ask(index, History(points=points, ended=known)).point)
        points.append(point)
        peak = point["peak"]
        state = "diverged" if peak > 0.1 else "failed" if peak < 0.004 else "finished"
        value = 0.1 + (math.log10(peak) + 1.5) ** 2 if state == "finished" else None
        outcome = Outcome(trial=index, replicate=0, state=state, value=value, reason="no")
        known[index] = Trial(index=index, schedule=space.schedule(point), outcomes=(outcome,))
    late = [trial for index, trial in known.items() if index >= 15]
    assert sum(trial.state != "finished" for trial in late) <= 7
    best = min(trial.value for trial in known.values() if trial.value is not None)
    assert best == pytest.approx(0.1, abs=1e-4)
