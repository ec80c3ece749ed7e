"""Values of many runs, stacked along a leading axis, as one matrix."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def flatten(values: Sequence[Tensor]) -> Tensor:
    """Stacked values side by side, shape `[A, P]`: one operation on it is one on all of them."""
    return torch.cat([v.reshape(len(v), -1) for v in values], 1)


def unflatten(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `flatten`: views of the shapes of `like`."""
    sizes = [v[0].numel() for v in like]
    return [part.view(v.shape) for part, v in zip(torch.split(flat, sizes, 1), like, strict=True)]
