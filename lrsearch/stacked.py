"""Values of many runs, stacked along a leading axis, as one matrix, and named on the host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def flatten(values: Sequence[Tensor]) -> Tensor:
    """Stacked values side by side, shape `[A, P]`: one operation on it is one on all of them."""
    return torch.cat([v.reshape(len(v), -1) for v in values], 1)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`: views of the shapes of `like`."""
    sizes = [v[0].numel() for v in like]
    return [part.view(v.shape) for part, v in zip(torch.split(flat, sizes, 1), like, strict=True)]


def pack(named: Mapping[str, Tensor]) -> Tensor:
    """Return named tensors of shape `[A]` or `[A, n]` side by side, in float64."""
    return torch.cat([t.double().reshape(len(t), -1) for t in named.values()], 1)


def layout(named: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how many columns each tensor of `pack` has; 0 for one of shape `[A]`."""
    return {name: 0 if t.dim() == 1 else t.shape[1] for name, t in named.items()}


def unpack(packed: Tensor, columns: Mapping[str, int]) -> dict[str, Tensor]:
    """The inverse of `pack`: views, by name."""
    parts = torch.split(packed, [max(1, n) for n in columns.values()], 1)
    named = zip(columns.items(), parts, strict=True)
    return {name: part if n else part[:, 0] for (name, n), part in named}


def to_host(
    step: Callable[[], Mapping[str, Tensor]], _amplified: Mapping[str, int]
) -> dict[str, Tensor]:
    """Do a step and copy the tensors that it returns to the host, in one copy."""
    named = step()
    return unpack(pack(named).cpu(), layout(named))
