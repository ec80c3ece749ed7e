"""Rises of the loss and the gradient noise scale, compared with closed forms."""

import numpy as np
import pytest
import torch

from lrsearch.diagnostics.perturbation import gradient_moments, noise_rise, worst_rise
from lrsearch.seeding import stream

H = torch.tensor([[1.0, 0.0, 0.0], [0.0, 4.0, 1.0], [0.0, 1.0, 2.0]]).double()


def bowl(values):
    return 0.5 * torch.einsum("ai,ij,aj->a", values[0], H, values[0])


AT = [torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 0.1]]).double()]


def test_the_worst_rise_of_a_quadratic_matches_its_closed_form():
    """L(θ + ρg/‖g‖) - L(θ) = ρ‖g‖ + ½ρ² gᵀHg/‖g‖²."""
    gradient = AT[0] @ H
    norm = gradient.norm(dim=1)
    expected = 0.05 * norm + 0.5 * 0.05**2 * ((gradient @ H) * gradient).sum(1) / norm**2
    torch.testing.assert_close(worst_rise(bowl, AT, bowl(AT), [gradient]), expected)


def test_the_worst_rise_at_a_minimum_is_zero():
    zero = [torch.zeros(1, 3).double()]
    assert worst_rise(bowl, zero, bowl(zero), zero).tolist() == [0.0]


def test_the_rise_under_weight_noise_is_half_its_variance_times_the_curvature():
    """The mean is ½s² Σ H_ii θ_i². Its standard error is measured over groups of draws."""
    expected = 0.5 * 0.05**2 * (H.diagonal() * AT[0].square()).sum(1)
    groups = torch.stack(
        [noise_rise(bowl, AT, bowl(AT), draws=100, seed=seed) for seed in range(60)]
    )
    error = groups.std(0) / len(groups) ** 0.5
    assert ((groups.mean(0) - expected).abs() < 3 * error).all()
    assert (error < 0.5 * expected).all()


def test_the_rise_under_weight_noise_is_invariant_to_rescaled_layers():
    """The output is a·b, so doubling a and halving b does not change it."""

    def product(values):
        return (values[0][:, 0] * values[1][:, 0] - 1).square()

    here = [torch.tensor([[2.0]]), torch.tensor([[3.0]])]
    there = [torch.tensor([[4.0]]), torch.tensor([[1.5]])]
    rises = [noise_rise(product, v, product(v), draws=8) for v in (here, there)]
    torch.testing.assert_close(*rises)


def test_gradient_moments_are_unbiased_on_least_squares():
    """The gradient of a sample is known, and so are |G|² and tr Σ. Means over draws match them."""
    draw = stream(0, "least squares")
    samples, parts, repeats = 32, 4, 400
    mean, spread = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 0.5])
    found = []
    for _ in range(repeats):
        x = torch.from_numpy(mean + spread * draw.standard_normal((samples, 3)))

        def loss(values, part, x=x):
            return (values[0] @ x[part].T).mean(1)  # the gradient of a sample is the sample

        square, variance, _ = gradient_moments(loss, [torch.zeros(1, 3).double()], samples, parts)
        found.append([square.item(), variance.item()])
    means, errors = np.mean(found, 0), np.std(found, 0) / repeats**0.5
    expected = np.array([mean @ mean, (spread**2).sum()])
    assert (np.abs(means - expected) < 3 * errors).all()
    assert (errors < 0.05 * expected).all()


def test_the_gradient_returned_with_the_moments_is_that_of_all_samples():
    x = torch.from_numpy(stream(0, "x").standard_normal((12, 3)))
    values = [torch.ones(2, 3).double()]
    _, _, gradient = gradient_moments(
        lambda v, part: (v[0] @ x[part].T).square().mean(1), values, 12, 3
    )
    leaf = values[0].clone().requires_grad_()
    (whole,) = torch.autograd.grad((leaf @ x.T).square().mean(1).sum(), leaf)
    torch.testing.assert_close(gradient[0], whole)


def test_without_noise_the_gradients_variance_is_zero():
    values = [torch.ones(1, 3).double()]
    square, variance, _ = gradient_moments(lambda v, part: v[0].square().sum(1), values, 8, 4)
    assert square.item() == pytest.approx(12.0)
    assert variance.item() == pytest.approx(0.0, abs=1e-12)
