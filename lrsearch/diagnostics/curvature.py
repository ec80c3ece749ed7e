"""The Hessian of many runs at once: its largest eigenvalue and its trace, without forming it.

The gradient of the summed losses is differentiated once with its graph kept. Every product with a
vector is then one more backward pass for all runs together, because no run's loss depends on
another run's parameters. Lanczos keeps two vectors per run and no basis. Because of rounding it
finds extreme eigenvalues more than once, but never wrong ones (Paige 1972).

The functions take a loss and stacked values, so they work for any model. For a single model the
leading axis is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from lrsearch.stacked import flatten, unflatten

T = TypeVar("T")

#: Lanczos ends for a run if the norm of its next vector is below this fraction of the largest
#: curvature found so far.
BREAKDOWN = 1e-5
#: Change of every parameter in the test of whether a gradient is constant.
MOVE = 1e-2


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the inner products of A pairs of stacked vectors, shape `[A]`."""
    return torch.stack([_rows(x * y).sum(1) for x, y in zip(a, b, strict=True)]).sum(0)


def _rows(tensor: Tensor) -> Tensor:
    """Return a stacked parameter in shape `[A, P]`, even if it is a scalar parameter."""
    return tensor.reshape(len(tensor), -1)


def signs(values: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Return random signs shaped like `values`.

    They are the same for every run, so that differences between runs are paired.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(0, 2, v.shape[1:], generator=generator) for v in values]
    return [
        (2 * d - 1).to(v.device, v.dtype).expand_as(v) for d, v in zip(drawn, values, strict=True)
    ]


def normals(values: Sequence[Tensor], seed: int, draws: int) -> Iterator[list[Tensor]]:
    """Yield `draws` samples of N(0, 1) shaped like one run of `values`, to be used by all runs."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield [torch.randn(v.shape[1:], generator=generator).to(v.device, v.dtype) for v in values]


class Draws:
    """Random directions, drawn on the host.

    Args:
        kept: storage for drawn directions; None to draw them at every measurement. A CUDA graph
            needs a storage: it cannot draw, and reads tensors at fixed addresses.
    """

    def __init__(self, kept: dict[Hashable, Any] | None) -> None:
        self._kept = kept

    def signs(self, values: Sequence[Tensor], seed: int) -> list[Tensor]:
        """Return random signs shaped like `values`, the same for every run."""
        ones = [v[:1] for v in values]
        drawn = self._keep(("signs", seed), ones, lambda: signs(ones, seed))
        return [k.expand_as(v) for k, v in zip(drawn, values, strict=True)]

    def normals(self, values: Sequence[Tensor], seed: int, draws: int) -> Iterable[list[Tensor]]:
        """Return `draws` samples of N(0, 1), each shaped like one run of `values`."""
        if self._kept is None:
            return normals(values, seed, draws)
        return self._keep(
            ("normals", seed, draws), values, lambda: list(normals(values, seed, draws))
        )

    def _keep(self, what: Hashable, values: Sequence[Tensor], draw: Callable[[], T]) -> T:
        if self._kept is None:
            return draw()
        key = (what, *((v.shape[1:], v.dtype, v.device) for v in values))
        if key not in self._kept:
            self._kept[key] = draw()
        return cast(T, self._kept[key])


def times(factor: Tensor, vectors: Sequence[Tensor]) -> list[Tensor]:
    """Scale the vector of every run by the number of that run."""
    return [v * factor.view(-1, *[1] * (v.dim() - 1)) for v in vectors]


def _gradient(
    loss: Callable[[Sequence[Tensor]], Tensor], values: Sequence[Tensor], *, keep: bool
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        loss(values).sum(), values, create_graph=keep, materialize_grads=True
    )


def _nodes(tensors: Sequence[Tensor]) -> Iterator[Any]:
    """Yield every node of the autograd graph of some tensors."""
    left = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen = set(left)
    while left:
        node = left.pop()
        yield node
        new = {following for following, _ in node.next_functions if following is not None} - seen
        seen |= new
        left += new


class HessianProduct:
    """Products of the Hessian of A losses with A vectors.

    With a `scale` D, the matrix is D^-½ H D^-½. Its eigenvalues are those of D^-1 H, which
    determine the stability of Adam (Cohen et al. 2022, arXiv 2207.14484).

    Args:
        loss: function of stacked values that returns losses, shape `[A]`, twice differentiable.
        values: parameters, each of shape `[A, ...]`.
        weight_decay: number added to the Hessian's diagonal.
        scale: D, shaped like `values`, above 0.

    Attributes:
        gradient: gradients of the losses without weight decay, shaped like `values`.

    Raises:
        RuntimeError: a part of the loss cannot be differentiated twice.
    """

    def __init__(
        self,
        loss: Callable[[Sequence[Tensor]], Tensor],
        values: Sequence[Tensor],
        *,
        weight_decay: float = 0.0,
        scale: Sequence[Tensor] | None = None,
    ) -> None:
        self._values = [v.detach().requires_grad_() for v in values]
        self._decay = weight_decay
        self._root = None if scale is None else [d.sqrt() for d in scale]
        self._gradient = _gradient(loss, self._values, keep=True)
        self.gradient = [g.detach() for g in self._gradient]
        self._check(loss)

    def __call__(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return the products, shaped like `vectors`."""
        inner = self._scaled(vectors)
        linear = [g for g in self._gradient if g.requires_grad]  # empty if the loss is linear
        products: list[Tensor] = [torch.zeros_like(v) for v in vectors]
        if linear:
            weights = [x for g, x in zip(self._gradient, inner, strict=True) if g.requires_grad]
            products = list(
                torch.autograd.grad(
                    linear, self._values, weights, retain_graph=True, materialize_grads=True
                )
            )
        if self._decay:
            products = [p + self._decay * x for p, x in zip(products, inner, strict=True)]
        return self._scaled(products)

    def _check(self, loss: Callable[[Sequence[Tensor]], Tensor]) -> None:
        """Raise an error for gradients whose derivative in torch would be wrong without an error.

        A custom function with a `once_differentiable` backward pass leaves an error node in the
        gradient's graph that is on no path to the parameters. A gradient without a graph must be
        constant.
        """
        if any("Error" in node.name() for node in _nodes(self._gradient)):
            raise RuntimeError("a custom backward pass cannot be differentiated again")
        fixed = [i for i, g in enumerate(self._gradient) if not g.requires_grad]
        if not fixed:
            return
        moved = [v + MOVE * s for v, s in zip(self._values, signs(self._values, 0), strict=True)]
        there = _gradient(loss, [v.detach().requires_grad_() for v in moved], keep=False)
        if any(not torch.allclose(self.gradient[i], there[i], equal_nan=True) for i in fixed):
            raise RuntimeError("a custom backward pass cannot be differentiated again")

    def _scaled(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        if self._root is None:
            return list(vectors)
        return [v / root for v, root in zip(vectors, self._root, strict=True)]


def largest_eigenvalue(
    product: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    start: Sequence[Tensor],
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Return the largest (most positive) eigenvalue of A symmetric matrices, by Lanczos.

    Args:
        product: function that multiplies the matrices by vectors shaped like `start`.
        start: first vectors, each of shape `[A, ...]`, not orthogonal to the eigenvectors. Random
            vectors work; the gradient is better if training oscillates.
        steps: number of products, at least 1.

    Returns:
        The estimates, shape `[A]`, which never exceed the eigenvalue except by rounding, and upper
        bounds on the distance from each to the nearest eigenvalue, shape `[A]`.
    """
    return ritz_value(*lanczos(product, start, steps))


def lanczos(
    product: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    start: Sequence[Tensor],
    steps: int,
) -> tuple[Tensor, Tensor]:
    """Return diagonals and off-diagonals of A tridiagonal matrices, each of shape `[A, steps]`.

    The last off-diagonal element is the distance of the Krylov space from an invariant one. If a
    matrix is not finite, its diagonal is NaN. The arguments are those of `largest_eigenvalue`.
    """
    first = flatten(start)
    norm = first.square().sum(1).sqrt()
    v = first / norm.clamp_min(torch.finfo(norm.dtype).tiny)[:, None]
    before = torch.zeros_like(v)
    alphas, betas = list[Tensor](), list[Tensor]()
    beta, alive = torch.zeros_like(norm), torch.ones_like(norm, dtype=torch.bool)
    largest, broken = torch.zeros_like(norm), torch.zeros_like(alive)
    for _ in range(steps):
        w = flatten(product(unflatten(v, start)))
        alpha = (w * v).sum(1)
        # A run whose Krylov space is exhausted repeats its first value, which is in the range of
        # its spectrum.
        alphas.append(torch.where(alive, alpha, alphas[0] if alphas else alpha))
        w = w - alpha[:, None] * v - beta[:, None] * before
        beta = w.square().sum(1).sqrt()
        largest = torch.maximum(largest, torch.maximum(alpha.abs(), beta))
        broken = broken | ~torch.isfinite(beta)
        alive = alive & (beta > BREAKDOWN * largest) & ~broken
        beta = torch.where(alive, beta, 0.0)
        betas.append(beta)
        before, v = v, torch.where(alive, 1 / beta.clamp_min(1e-30), 0.0)[:, None] * w
    diagonal = torch.where(broken[:, None], torch.nan, torch.stack(alphas, 1))
    return diagonal, torch.stack(betas, 1)


def ritz_value(diagonal: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and bounds like `largest_eigenvalue`, from the output of `lanczos`."""
    matrix = torch.diag_embed(diagonal.double())
    if diagonal.shape[1] > 1:
        within = side[:, :-1].double()
        matrix = matrix + torch.diag_embed(within, 1) + torch.diag_embed(within, -1)
    finite = torch.isfinite(matrix).flatten(1).all(1)
    # LAPACK rejects matrices that are not finite; the eigenvalue of such a run is NaN.
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], matrix, 0.0).cpu())
    values, last = values[:, -1].to(side), vectors[:, -1, -1].abs().to(side)
    error = side[:, -1] * last
    return torch.where(finite, values, torch.nan), torch.where(finite, error, torch.nan)


def hutchinson_trace(
    product: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    like: Sequence[Tensor],
    vectors: int,
    seed: int = 0,
    draw: Callable[[Sequence[Tensor], int], list[Tensor]] = signs,
) -> tuple[Tensor, Tensor]:
    """Return the traces of A symmetric matrices: means of zᵀHz over signs z (Hutchinson 1989).

    Args:
        product: function that multiplies the matrices by vectors.
        like: tensors with the shapes of the vectors, each `[A, ...]`.
        vectors: number of vectors z, at least 2.
        seed: seed of the signs, which all runs share.
        draw: function that draws signs, given `like` and a seed.

    Returns:
        The means and their standard errors, each of shape `[A]`. The variance of one zᵀHz is
        2·Σ_{i≠j} H_ij².
    """
    drawn = [draw(like, seed + i) for i in range(vectors)]
    samples = torch.stack([dot(z, product(z)) for z in drawn])
    return samples.mean(0), samples.std(0) / vectors**0.5
