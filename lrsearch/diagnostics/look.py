"""One look at the landscape of several runs: everything that was asked for, in as few passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lrsearch.diagnostics.curvature import (
    HessianProduct,
    dot,
    hutchinson_trace,
    largest_eigenvalue,
    signs,
    times,
)
from lrsearch.diagnostics.margin import direction_angle, margins, svm_direction
from lrsearch.diagnostics.noise import gradient_moments, noise_rise, worst_rise
from lrsearch.diagnostics.probes import LANCZOS, NOISE_DRAWS, PARTS, TRACE_VECTORS
from lrsearch.landscape import Landscape
from lrsearch.theory import stability_limit

__all__ = ["look"]

#: Random signs beside the gradient in Lanczos's first vector, so that nothing is orthogonal to it.
BLUR = 1e-2


def look(
    landscape: Landscape, parts: frozenset[str], directions: dict[Any, Any]
) -> dict[str, list[float]]:
    """Numbers by name, one a run.

    Args:
        landscape: of A runs.
        parts: what is measured, names of `lrsearch.diagnostics.probes.COSTS`.
        directions: of the largest margin, by the classes that they are of; kept between looks.
    """
    values, found = landscape.values, dict[str, Tensor]()
    found["weight_norm"] = dot(values, values).sqrt()
    if "noise" in parts and landscape.samples >= 2:
        small = min(PARTS, landscape.samples)
        square, variance, _ = gradient_moments(landscape.fresh, values, landscape.samples, small)
        found |= {"gradient_square": square, "gradient_variance": variance}
    gradient: Sequence[Tensor] | None = None
    if parts & {"sharpness", "trace"}:
        product = HessianProduct(
            _whole(landscape),
            values,
            weight_decay=landscape.weight_decay,
            scale=landscape.scale,
        )
        found |= _curvature(landscape, product, parts)
        gradient = product.gradient
    if "rises" in parts:
        found |= _rises(landscape, gradient)
    numbers = {name: tensor.double().tolist() for name, tensor in found.items()}
    return numbers | (_margins(landscape, directions) if "margin" in parts else {})


def _whole(landscape: Landscape) -> Any:
    return lambda values: landscape.loss(values, slice(0, landscape.samples))


def _curvature(
    landscape: Landscape, product: HessianProduct, parts: frozenset[str]
) -> dict[str, Tensor]:
    found = dict[str, Tensor]()
    if "sharpness" in parts:
        length = dot(product.gradient, product.gradient).sqrt()
        count = sum(v[0].numel() for v in landscape.values)
        noise = BLUR * torch.where(length > 0, length, 1.0) / count**0.5
        start = [
            g + s
            for g, s in zip(
                product.gradient, times(noise, signs(landscape.values, 0)), strict=True
            )
        ]
        sharpness, error = largest_eigenvalue(product, start, LANCZOS)
        limits = [
            stability_limit(landscape.method, momentum) for momentum in landscape.momentum.tolist()
        ]
        limit = torch.tensor(limits, dtype=torch.float64, device=sharpness.device)
        found |= {
            "sharpness": sharpness,
            "sharpness_error": error,
            "stability_ratio": landscape.rate * sharpness.double() / limit,
        }
    if "trace" in parts:
        found["trace"], found["trace_error"] = hutchinson_trace(
            product, landscape.values, TRACE_VECTORS
        )
    return found


def _rises(landscape: Landscape, gradient: Sequence[Tensor] | None) -> dict[str, Tensor]:
    """Both rises; the gradient of the landscape's loss is taken where it is not known yet."""
    whole = _whole(landscape)
    if gradient is None:
        leaves = [v.detach().requires_grad_() for v in landscape.values]
        gradient = torch.autograd.grad(whole(leaves).sum(), leaves, materialize_grads=True)
    with torch.no_grad():
        here = whole(landscape.values)
    return {
        "noise_rise": noise_rise(whole, landscape.values, here, draws=NOISE_DRAWS),
        "worst_rise": worst_rise(whole, landscape.values, here, gradient),
    }


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
