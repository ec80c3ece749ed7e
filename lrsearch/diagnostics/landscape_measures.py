"""One look at the landscape of several runs: everything that was asked for, in as few passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrsearch.diagnostics.curvature import (
    Draws,
    HessianProduct,
    dot,
    hutchinson_trace,
    lanczos,
    ritz_value,
    times,
)
from lrsearch.diagnostics.diagnosis import LANCZOS, NOISE_DRAWS, PARTS, TRACE_VECTORS
from lrsearch.diagnostics.perturbation import gradient_moments, noise_rise, worst_rise
from lrsearch.diagnostics.svm_margin import direction_angle, margins, svm_direction
from lrsearch.landscape import Landscape
from lrsearch.theory import stability_limit

#: Random signs beside the gradient in Lanczos's first vector, so that nothing is orthogonal to it.
BLUR = 1e-2
#: Steps of Lanczos before rounding shows: its vectors lose their orthogonality as eigenvalues are
#: found (Paige 1972), so that later numbers hang on the order of sums, and the eigenvalues do not.
FAITHFUL = 3


def look(
    landscape: Landscape, parts: frozenset[str], directions: dict[Any, Any]
) -> dict[str, list[float]]:
    """Numbers by name, one a run.

    Args:
        landscape: of A runs.
        parts: what is measured, names of `lrsearch.diagnostics.diagnosis.COSTS`.
        directions: of the largest margin, by the classes that they are of; kept between looks.
    """
    draws, first = Draws(landscape.kept), 1 + 2 * _has_noise(landscape, parts)
    columns = landscape.replay(
        lambda: torch.stack(_measure(landscape, parts, draws), 1),
        _amplified(first) if "sharpness" in parts else (),
    )
    # From here on the host computes: one copy is waited for, and not one a number.
    left = list(columns.cpu().T)
    found = {"weight_norm": left.pop(0)}
    if _has_noise(landscape, parts):
        found |= {"gradient_square": left.pop(0), "gradient_variance": left.pop(0)}
    if "sharpness" in parts:
        matrix = torch.stack(left[: 2 * LANCZOS], 1).to(landscape.values[0].dtype)
        del left[: 2 * LANCZOS]
        found |= _sharpness(landscape, *torch.split(matrix, LANCZOS, 1))
    if "trace" in parts:
        found |= {"trace": left.pop(0), "trace_error": left.pop(0)}
    if "rises" in parts:
        found |= {"noise_rise": left.pop(0), "worst_rise": left.pop(0)}
    numbers = {name: tensor.double().tolist() for name, tensor in found.items()}
    return numbers | (_margins(landscape, directions) if "margin" in parts else {})


def _amplified(first: int) -> list[int]:
    """The columns of Lanczos's later numbers, where its columns begin with this one."""
    return [first + k * LANCZOS + i for k in range(2) for i in range(FAITHFUL, LANCZOS)]


def _has_noise(landscape: Landscape, parts: frozenset[str]) -> bool:
    return "noise" in parts and landscape.samples >= 2


def _measure(landscape: Landscape, parts: frozenset[str], draws: Draws) -> list[Tensor]:
    """What `look` makes numbers of, in its order: columns of shape `[A]`."""
    values = landscape.values
    found = [dot(values, values).sqrt()]
    if _has_noise(landscape, parts):
        small = min(PARTS, landscape.samples)
        found += gradient_moments(landscape.fresh, values, landscape.samples, small)[:2]
    gradient: Sequence[Tensor] | None = None
    if parts & {"sharpness", "trace"}:
        product = HessianProduct(
            _whole(landscape),
            values,
            weight_decay=landscape.weight_decay,
            scale=landscape.scale,
        )
        gradient = product.gradient
        if "sharpness" in parts:
            found += _lanczos(landscape, product, draws)
        if "trace" in parts:
            found += hutchinson_trace(product, values, TRACE_VECTORS, draw=draws.signs)
    if "rises" in parts:
        found += _rises(landscape, gradient, draws)
    return [column.double() for column in found]


def _whole(landscape: Landscape) -> Any:
    return lambda values: landscape.loss(values, slice(0, landscape.samples))


def _lanczos(landscape: Landscape, product: HessianProduct, draws: Draws) -> list[Tensor]:
    """The diagonals and the sides of the runs' tridiagonal matrices."""
    length = dot(product.gradient, product.gradient).sqrt()
    count = sum(v[0].numel() for v in landscape.values)
    noise = BLUR * torch.where(length > 0, length, 1.0) / count**0.5
    signs = times(noise, draws.signs(landscape.values, 0))
    start = [g + s for g, s in zip(product.gradient, signs, strict=True)]
    diagonal, side = lanczos(product, start, LANCZOS)
    return [*diagonal.T, *side.T]


def _sharpness(landscape: Landscape, diagonal: Tensor, side: Tensor) -> dict[str, Tensor]:
    sharpness, error = ritz_value(diagonal, side)
    limits = [
        stability_limit(landscape.method, momentum) for momentum in landscape.momentum.tolist()
    ]
    ratio = landscape.rate * sharpness.double() / torch.tensor(limits, dtype=torch.float64)
    return {"sharpness": sharpness, "sharpness_error": error, "stability_ratio": ratio}


def _rises(
    landscape: Landscape, gradient: Sequence[Tensor] | None, draws: Draws
) -> tuple[Tensor, Tensor]:
    """Both rises; the gradient of the landscape's loss is taken where it is not known yet."""
    whole, values = _whole(landscape), landscape.values
    if gradient is None:
        leaves = [v.detach().requires_grad_() for v in values]
        gradient = torch.autograd.grad(whole(leaves).sum(), leaves, materialize_grads=True)
    with torch.no_grad():
        here = whole(values)
    noise = noise_rise(whole, values, here, draws=NOISE_DRAWS, draw=draws.normals)
    return noise, worst_rise(whole, values, here, gradient)


def _margins(landscape: Landscape, directions: dict[Any, Any]) -> dict[str, list[float]]:
    """Margin and angle of linear classifiers; a bias counts as the weight of a further input 1."""
    if landscape.classes is None:
        return {}
    inputs, labels = (
        t.cpu().double() for t in (landscape.classes.inputs, landscape.classes.labels)
    )
    weights = landscape.values[0].detach().cpu().double()
    if len(landscape.values) == 2:
        weights = torch.cat([weights, landscape.values[1].detach().cpu().double()[..., None]], -1)
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1).double()], 1)
    x, y = inputs.numpy(), labels.numpy().astype(int)
    key = landscape.classes
    if key not in directions:
        directions[key] = svm_direction(x, y)
    found = {"margin": margins(weights.numpy(), x, y).tolist()}
    if directions[key] is not None:
        found["svm_angle"] = direction_angle(weights.numpy(), directions[key]).tolist()
    return found
