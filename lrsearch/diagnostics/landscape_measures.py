"""A measurement of the landscape of several runs, in as few passes as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrsearch.diagnostics.costs import LANCZOS, NOISE_DRAWS, PARTS, TRACE_VECTORS
from lrsearch.diagnostics.curvature import (
    Draws,
    HessianProduct,
    dot,
    hutchinson_trace,
    lanczos,
    ritz_value,
    times,
)
from lrsearch.diagnostics.perturbation import gradient_moments, noise_rise, worst_rise
from lrsearch.diagnostics.svm_margin import direction_angle, margins, svm_direction
from lrsearch.landscape import Landscape
from lrsearch.stacked import to_host
from lrsearch.theory import stability_limit

#: Size of the random signs that are added to the gradient as Lanczos's first vector, relative to
#: the gradient, so that no eigenvector is orthogonal to it.
BLUR = 1e-2
#: Steps of Lanczos before rounding errors matter. Its vectors lose their orthogonality as
#: eigenvalues converge (Paige 1972). Later elements of the matrix therefore depend on the order of
#: sums, but the eigenvalues do not.
FAITHFUL = 3
#: Index from which rounding errors are amplified, by the name of a measured tensor.
AMPLIFIED = {"lanczos_diagonal": FAITHFUL, "lanczos_side": FAITHFUL}


def look(
    landscape: Landscape, parts: frozenset[str], directions: dict[Any, Any]
) -> dict[str, list[float]]:
    """Measure a landscape; return numbers by name, one per run.

    Args:
        landscape: landscape of A runs.
        parts: parts to measure, keys of `lrsearch.diagnostics.costs.COSTS`.
        directions: cache of the largest-margin directions by training data.
    """
    draws, replay = Draws(landscape.kept), landscape.replay or to_host
    # All numbers are copied to the host once, because every copy waits for the device.
    numbers = summarise(landscape, replay(lambda: measure(landscape, parts, draws), AMPLIFIED))
    return numbers | (_margins(landscape, directions) if "margin" in parts else {})


def measure(landscape: Landscape, parts: frozenset[str], draws: Draws) -> dict[str, Tensor]:
    """Return the tensors that are computed on the device by name, shape `[A]` or `[A, n]`."""
    values = landscape.values
    found = {"weight_norm": dot(values, values).sqrt()}
    if "noise" in parts and landscape.samples >= 2:
        small = min(PARTS, landscape.samples)
        moments = gradient_moments(landscape.fresh, values, landscape.samples, small)
        found |= {"gradient_square": moments[0], "gradient_variance": moments[1]}
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
            diagonal, side = _lanczos(landscape, product, draws)
            found |= {"lanczos_diagonal": diagonal, "lanczos_side": side}
        if "trace" in parts:
            trace, error = hutchinson_trace(product, values, TRACE_VECTORS, draw=draws.signs)
            found |= {"trace": trace, "trace_error": error}
    if "rises" in parts:
        noise, worst = _rises(landscape, gradient, draws)
        found |= {"noise_rise": noise, "worst_rise": worst}
    return found


def summarise(landscape: Landscape, measured: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Return the numbers of a measurement by name, one per run, computed on the host."""
    found = {name: tensor for name, tensor in measured.items() if tensor.dim() == 1}
    if "lanczos_diagonal" in measured:
        kind = landscape.values[0].dtype
        sides = (measured[name].to(kind) for name in ("lanczos_diagonal", "lanczos_side"))
        found |= _sharpness(landscape, *sides)
    return {name: tensor.double().tolist() for name, tensor in found.items()}


def _whole(landscape: Landscape) -> Any:
    return lambda values: landscape.loss(values, slice(0, landscape.samples))


def _lanczos(landscape: Landscape, product: HessianProduct, draws: Draws) -> tuple[Tensor, Tensor]:
    """Return diagonals and off-diagonals of the runs' tridiagonal matrices."""
    length = dot(product.gradient, product.gradient).sqrt()
    count = sum(v[0].numel() for v in landscape.values)
    noise = BLUR * torch.where(length > 0, length, 1.0) / count**0.5
    signs = times(noise, draws.signs(landscape.values, 0))
    start = [g + s for g, s in zip(product.gradient, signs, strict=True)]
    return lanczos(product, start, LANCZOS)


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
    """Return the rises under weight noise and at the worst point; compute a missing gradient."""
    whole, values = _whole(landscape), landscape.values
    if gradient is None:
        leaves = [v.detach().requires_grad_() for v in values]
        gradient = torch.autograd.grad(whole(leaves).sum(), leaves, materialize_grads=True)
    with torch.no_grad():
        here = whole(values)
    noise = noise_rise(whole, values, here, draws=NOISE_DRAWS, draw=draws.normals)
    return noise, worst_rise(whole, values, here, gradient)


def _margins(landscape: Landscape, directions: dict[Any, Any]) -> dict[str, list[float]]:
    """Return margins and angles of linear classifiers; a bias is the weight of an input 1."""
    if landscape.classes is None:
        return {}
    inputs, labels = (
        t.cpu().double() for t in (landscape.classes.inputs, landscape.classes.labels)
    )
    weights, *bias = (v.detach().cpu().double() for v in landscape.values)
    if bias:
        weights = torch.cat([weights, bias[0][..., None]], -1)
        inputs = torch.cat([inputs, torch.ones(len(inputs), 1).double()], 1)
    w, x, y = weights.numpy(), inputs.numpy(), labels.numpy().astype(int)
    if landscape.classes not in directions:
        directions[landscape.classes] = svm_direction(x, y)
    best = directions[landscape.classes]
    angle = {} if best is None else {"svm_angle": direction_angle(w, best).tolist()}
    return {"margin": margins(w, x, y).tolist(), **angle}
