"""How the loss answers to noise: in the parameters (flatness) and in the gradient (its scale).

Losses and values are stacked along a leading axis of A runs, as in
`lrsearch.diagnostics.curvature`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from lrsearch.diagnostics.curvature import dot, normals, times
from lrsearch.stacked import flatten, unflatten

#: Standard deviation of the noise, as a fraction of every weight; a convention.
WEIGHT_NOISE = 0.05
#: Radius of the ball in which SAM looks (Foret et al. 2021, arXiv 2010.01412).
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
    """Mean rise of the loss when every weight θ becomes θ(1 + scale·ξ), ξ ~ N(0, 1); `[A]`.

    Noise in proportion to the weights does not change when a layer is scaled up and the next one
    down, as noise of one size would (Dinh et al. 2017, arXiv 1703.04933).

    Args:
        loss: stacked values to losses of shape `[A]`.
        values: each of shape `[A, ...]`.
        here: the loss at `values`, shape `[A]`.
        draws: of ξ, the same for every run.
        scale: standard deviation of the noise over the weight.
        seed: of the draws.
        draw: the numbers of a seed, so many times.
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
    """Rise of the loss at θ + ρ·g/‖g‖, the worst point within ρ to first order; shape `[A]`.

    The m-sharpness of SAM (Foret et al. 2021). Where the gradient is 0 it is 0.

    Args:
        loss: stacked values to losses of shape `[A]`.
        values: each of shape `[A, ...]`.
        here: the loss at `values`, shape `[A]`.
        gradient: of the loss, like `values`.
        radius: ρ.
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
    """Unbiased |G|² and tr Σ of the gradient, from batches of two sizes; and the gradient.

    G is the true gradient, Σ the covariance of one sample's. Their ratio tr Σ/|G|² is the gradient
    noise scale, the batch size beyond which larger batches gain little; average each over several
    looks before you divide, for the ratio of noisy numbers is biased (McCandlish et al. 2018,
    arXiv 1812.06162, appendix A.1). Both may come out negative by chance.

    Args:
        loss: stacked values and a part of the samples to mean losses of shape `[A]`.
        values: each of shape `[A, ...]`.
        samples: n, how many there are.
        parts: into how many small batches of equal size they are cut, at least 2.

    Returns:
        |G|² and tr Σ, shape `[A]` each, and the gradient over the samples that the parts hold.
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
