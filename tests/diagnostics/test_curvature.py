"""Largest eigenvalue and trace of Hessians, compared with dense matrices."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, hessian

from lrsearch.diagnostics.curvature import (
    HessianProduct,
    dot,
    hutchinson_trace,
    largest_eigenvalue,
    signs,
)
from lrsearch.seeding import stream


def quadratics(spectra, seed=0):
    """Return matrices `[A, n, n]` with given eigenvalues, their losses ½xᵀMx, and x = (a, b)."""
    draw = stream(seed, "matrices")
    bases = [np.linalg.qr(draw.standard_normal((len(s), len(s))))[0] for s in spectra]
    matrices = np.stack([q * s @ q.T for q, s in zip(bases, np.asarray(spectra), strict=True)])
    m = torch.from_numpy(matrices)

    def loss(values):
        x = torch.cat([v.flatten(1) for v in values], 1)
        return 0.5 * torch.einsum("ai,aij,aj->a", x, m, x)

    first = torch.from_numpy(draw.standard_normal((len(spectra), 2, 2)))
    rest = torch.from_numpy(draw.standard_normal((len(spectra), len(spectra[0]) - 4)))
    return m, loss, [first, rest]


SPECTRA = [
    np.geomspace(1e-3, 7.0, 12),
    np.linspace(-9.0, 2.5, 12),  # the most negative one is the largest in magnitude
    np.full(12, 0.3),  # one step of Lanczos is exact
    np.r_[np.zeros(11), 5.0],
]


def test_the_largest_eigenvalue_of_known_spectra_is_found_for_all_runs_at_once():
    _, loss, values = quadratics(SPECTRA)
    product = HessianProduct(loss, values)
    found, error = largest_eigenvalue(product, signs(values, 1), 12)
    expected = torch.tensor([max(s) for s in SPECTRA])
    torch.testing.assert_close(found, expected.double(), rtol=1e-6, atol=0)
    assert (error < 1e-4 * expected).all()


def test_the_estimate_never_exceeds_the_eigenvalue_and_its_error_bounds_the_distance():
    _, loss, values = quadratics(SPECTRA)
    product = HessianProduct(loss, values)
    for steps in range(1, 8):
        found, error = largest_eigenvalue(product, signs(values, 2), steps)
        for k, spectrum in enumerate(SPECTRA):
            assert found[k] <= max(spectrum) + 1e-12
            assert np.abs(spectrum - found[k].item()).min() <= error[k] + 1e-12


def test_more_steps_than_dimensions_change_nothing():
    """Lanczos without a basis finds an eigenvalue more than once, but never a wrong one."""
    _, loss, values = quadratics(SPECTRA)
    product = HessianProduct(loss, values)
    found, _ = largest_eigenvalue(product, signs(values, 1), 60)
    expected = torch.tensor([max(s) for s in SPECTRA]).double()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)


@pytest.fixture(scope="module")
def network():
    """A tiny network in float64, its loss for two runs, and their dense Hessians."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    names = [name for name, _ in model.named_parameters()]
    x, y = torch.randn(20, 3).double(), torch.randint(0, 2, (20,))
    values = [torch.stack([p.detach(), 2 * p.detach()]) for p in model.parameters()]

    def one(parts):
        logits = functional_call(model, dict(zip(names, parts, strict=True)), (x,))
        return nn.functional.cross_entropy(logits, y)

    def loss(stacked):
        return torch.stack([one([v[k] for v in stacked]) for k in range(2)])

    def flat(vector, k):
        parts, begin = [], 0
        for v in values:
            parts.append(vector[begin : begin + v[k].numel()].view_as(v[k]))
            begin += v[k].numel()
        return one(parts)

    dense = []
    for k in range(2):
        here = torch.cat([v[k].flatten() for v in values])
        dense.append(hessian(lambda vector, k=k: flat(vector, k))(here))
    return values, loss, torch.stack(dense)


def split(matrix_rows, values):
    """Return a `[2, P]` tensor as tensors with the shapes of the values."""
    sizes = [v[0].numel() for v in values]
    parts = matrix_rows.split(sizes, 1)
    return [p.reshape(v.shape) for p, v in zip(parts, values, strict=True)]


def test_products_match_those_of_the_full_hessian(network):
    values, loss, dense = network
    product = HessianProduct(loss, values, weight_decay=0.3)
    vectors = torch.randn(2, dense.shape[1], generator=torch.Generator().manual_seed(1)).double()
    mine = torch.cat([p.flatten(1) for p in product(split(vectors, values))], 1)
    theirs = torch.einsum("aij,aj->ai", dense, vectors) + 0.3 * vectors
    torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


def test_sharpness_is_the_largest_eigenvalue_of_the_full_hessian(network):
    values, loss, dense = network
    product = HessianProduct(loss, values)
    found, _ = largest_eigenvalue(product, product.gradient, 30)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(dense)[:, -1], rtol=1e-8, atol=0)


def test_preconditioned_sharpness_is_that_of_the_scaled_hessian(network):
    values, loss, dense = network
    draw = torch.Generator().manual_seed(3)
    d = torch.rand(2, dense.shape[1], generator=draw).double() + 0.1
    product = HessianProduct(loss, values, scale=split(d, values), weight_decay=0.2)
    found, _ = largest_eigenvalue(product, product.gradient, 30)
    eye = torch.eye(dense.shape[1])
    for k in range(2):
        spectrum = torch.linalg.eigvals((dense[k] + 0.2 * eye) / d[k][:, None]).real
        assert found[k].item() == pytest.approx(spectrum.max().item(), rel=1e-8)


def test_the_standard_error_of_the_trace_matches_its_formula(network):
    """The variance of one zᵀHz is 2·Σ_{i≠j} H_ij²."""
    values, loss, dense = network
    product, vectors = HessianProduct(loss, values), 400
    trace, error = hutchinson_trace(product, values, vectors)
    off = dense - torch.diag_embed(dense.diagonal(dim1=1, dim2=2))
    expected = (2 * off.square().sum((1, 2)) / vectors).sqrt()
    # The standard error of a standard deviation from n samples is about 1/√(2n), 3.5 % here.
    torch.testing.assert_close(error, expected, rtol=0.14, atol=0)
    true = dense.diagonal(dim1=1, dim2=2).sum(1)
    assert ((trace - true).abs() < 4 * expected).all()


def test_the_trace_of_a_diagonal_hessian_is_exact():
    def loss(values):
        return (torch.tensor([[1.0, 2.0, 3.0]]) * values[0].square()).sum(1)

    trace, error = hutchinson_trace(
        HessianProduct(loss, [torch.ones(2, 3)]), [torch.ones(2, 3)], 3
    )
    assert trace.tolist() == [12.0, 12.0]
    assert error.tolist() == [0.0, 0.0]


def test_the_curvature_of_a_linear_loss_is_zero_and_of_an_infinite_one_nan():
    values = [torch.ones(2, 3)]
    product = HessianProduct(lambda v: v[0].sum(1), values)
    assert largest_eigenvalue(product, signs(values, 0), 4)[0].tolist() == [0.0, 0.0]
    factor = torch.tensor([1.0, torch.inf])
    broken = HessianProduct(lambda v: factor * v[0].square().sum(1), values)
    found, _ = largest_eigenvalue(broken, signs(values, 0), 4)
    assert found[0].item() == pytest.approx(2.0)
    assert torch.isnan(found[1])


def test_all_runs_have_the_same_random_signs():
    drawn = signs([torch.zeros(3, 50)], 7)
    assert torch.equal(drawn[0][0], drawn[0][2])
    assert set(drawn[0].unique().tolist()) == {-1.0, 1.0}
    assert dot(drawn, drawn).tolist() == [50.0] * 3
