"""The rise of the loss under noise in the parameters, and the noise scale of the gradient.

Losses and values are stacked along a leading axis of A runs, as in
`lrsearch.diagnostics.curvature`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lrsearch.diagnostics.curvature import dot, normals, times
from lrsearch.stacked import flatten, unflatten

#: Standard deviation of the noise as a fraction of every weight; a convention.
WEIGHT_NOISE = 0.05
#: Radius of the ball that SAM searches (Foret et al. 2021, arXiv 2010.01412).
SAM_RADIUS = 0.05

Loss = Callable[[Sequence[Tensor]], Tensor]


@torch.no_grad()
def noise_rise(
    loss: Loss,
    values: Sequence[Tensor],
    here: Tensor,
    *,
    draws: int = 4,
    scale: float = WEIGHT_NOISE,
    seed: int = 0,
    draw: Callable[[Sequence[Tensor], int, int], Iterable[list[Tensor]]] = normals,
) -> Tensor:
    """Return the mean rise of the loss if every weight θ becomes θ(1 + scale·ξ), ξ ~ N(0, 1).

    The noise is proportional to the weights, so the result does not change if one layer is scaled
    up and the next one down. With noise of a fixed size it would (Dinh et al. 2017, arXiv
    1703.04933).

    Args:
        loss: function of stacked values that returns losses, shape `[A]`.
        values: parameters, each of shape `[A, ...]`.
        here: the loss at `values`, shape `[A]`.
        draws: number of draws of ξ, the same for every run.
        scale: standard deviation of the noise as a fraction of the weight.
        seed: seed of the draws.
        draw: function that draws ξ, given `values`, the seed and the number of draws.

    Returns:
        The rises, shape `[A]`.
    """
    total = torch.zeros_like(here)
    for noise in draw(values, seed, draws):
        total = total + loss([v * (1 + scale * xi) for v, xi in zip(values, noise, strict=True)])
    return total / draws - here


@torch.no_grad()
def worst_rise(
    loss: Loss,
    values: Sequence[Tensor],
    here: Tensor,
    gradient: Sequence[Tensor],
    radius: float = SAM_RADIUS,
) -> Tensor:
    """Return the rise of the loss at θ + ρ·g/‖g‖, the worst point within ρ to first order.

    This is the m-sharpness of SAM (Foret et al. 2021). It is 0 if the gradient is 0.

    Args:
        loss: function of stacked values that returns losses, shape `[A]`.
        values: parameters, each of shape `[A, ...]`.
        here: the loss at `values`, shape `[A]`.
        gradient: gradient of the loss, shaped like `values`.
        radius: ρ.

    Returns:
        The rises, shape `[A]`.
    """
    norm = dot(gradient, gradient).sqrt()
    factor = torch.where(norm > 0, radius / norm, 0.0)
    moved = [v + step for v, step in zip(values, times(factor, gradient), strict=True)]
    return loss(moved) - here


def gradient_moments(
    loss: Callable[[Sequence[Tensor], slice], Tensor],
    values: Sequence[Tensor],
    samples: int,
    parts: int,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return unbiased |G|² and tr Σ of the gradient from two batch sizes, and the gradient.

    G is the true gradient, Σ the covariance of the gradient of one sample. The ratio tr Σ/|G|² is
    the gradient noise scale, the batch size beyond which larger batches gain little. Average both
    over several measurements before dividing, because a ratio of noisy numbers is biased
    (McCandlish et al. 2018, arXiv 1812.06162, appendix A.1). Both can be negative by chance.

    Args:
        loss: function of stacked values and a slice of the samples that returns mean losses, shape
            `[A]`.
        values: parameters, each of shape `[A, ...]`.
        samples: n, the number of samples.
        parts: number of small batches of equal size, at least 2.

    Returns:
        |G|² and tr Σ, each of shape `[A]`, and the gradient over the samples of all parts, shaped
        like `values`.
    """
    leaves = [v.detach().requires_grad_() for v in values]
    small = samples // parts
    squares, total = list[Tensor](), torch.zeros_like(flatten(values))
    for i in range(parts):
        mean = loss(leaves, slice(i * small, (i + 1) * small)).sum()
        gradient = flatten(torch.autograd.grad(mean, leaves, materialize_grads=True))
        squares.append(gradient.square().sum(1))
        total = total + gradient / parts
    large, big = total.square().sum(1), small * parts
    small_square = torch.stack(squares).mean(0)
    signal = (big * large - small * small_square) / (big - small)
    variance = (small_square - large) / (1 / small - 1 / big)
    return signal, variance, unflatten(total, leaves)
